import { basename } from 'node:path';
import { applyFile, type ApplyOutcome, stepDocument, stepText } from '../../config/apply.ts';
import { planApply, type PlanOptions } from '../../config/apply-plan.ts';
import type { ApplyTarget } from '../../config/apply-target.ts';
import { type FileContent, fileChanges, readFileContent } from '../../config/file-changes.ts';
import { parseQueuesFile, type QueuesFile, RefusedFileError } from '../../config/queues-file.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import { Pause } from '../../runtime/pause.ts';
import { serviceTarget } from './service-target.ts';
import { exitCode } from '../exit-codes.ts';
import { operatorCommand } from '../operator-command.ts';
import type { Environment } from '../program.ts';
import { OutsideSignals } from '../run/outside-signals.ts';
import type { ApplyFlags } from '../apply.ts';

const watchEveryMs = 500;

/**
 * `signalbox apply`: 0 = the service is as the file says; 1 = the service did not let part of it happen, or, with
 * `--dry-run`, there is something to do; 2 = the file is refused, nothing was written; 123 = no service.
 */
export async function applyCommand(flags: ApplyFlags, environment: Environment): Promise<number> {
  return operatorCommand(flags, environment, async (client) => {
    const target = serviceTarget(client, {
      mustRemember: flags.prune === true,
      onNoMemory: () =>
        console.error('signalbox: this token is for some queues only, so what the file makes is not remembered'),
    });
    const first = await readFileContent(flags.file);
    const code = await once(flags, environment, target, first);
    if (flags.watch !== true || flags.dryRun === true || code === exitCode.usage) return code;
    await watch(flags, environment, target, first);
    return exitCode.ok;
  });
}

async function once(
  flags: ApplyFlags,
  environment: Environment,
  target: ApplyTarget,
  content: FileContent,
): Promise<number> {
  try {
    const { file, options } = read(flags, environment, content);
    const { done, refused } =
      flags.dryRun === true
        ? { done: (await planApply(file, target, options)).steps, refused: [] }
        : await applyFile(file, target, options);
    if (flags.json === true) console.log(JSON.stringify(documentOf(flags, options, { done, refused })));
    else tell(flags, { done, refused });
    // What a dry run would do is to be told apart from nothing, what was done is as it should be.
    const isAsItSays = refused.length === 0 && (flags.dryRun !== true || done.length === 0);
    return isAsItSays ? exitCode.ok : exitCode.failed;
  } catch (error) {
    if (!(error instanceof RefusedFileError)) throw error;
    if (flags.json === true) console.log(JSON.stringify({ problems: error.problems }));
    console.error(`signalbox: ${error.message}`);
    return exitCode.usage;
  }
}

function read(
  { file: path, label, prune }: ApplyFlags,
  environment: Environment,
  content: FileContent,
): { file: QueuesFile; options: PlanOptions } {
  if (content.kind === 'unreadable')
    throw new RefusedFileError(path, [{ line: 1, text: `cannot be read: ${content.error.message}` }]);
  const file = parseQueuesFile(path, content.text, environment);
  return { file, options: { path, label: label ?? file.label ?? basename(path), prune: prune === true } };
}

function documentOf({ dryRun }: ApplyFlags, { label }: PlanOptions, { done, refused }: ApplyOutcome): object {
  return {
    label,
    dry_run: dryRun === true,
    changes: done.map(stepDocument),
    refused: refused.map(({ step, error }) => ({ ...stepDocument(step), code: error.code, detail: error.message })),
  };
}

function tell({ dryRun }: ApplyFlags, { done, refused }: ApplyOutcome): void {
  for (const step of done) console.log(stepText(step));
  for (const { step, error } of refused) console.error(`signalbox: not done: ${stepText(step)}: ${error.message}`);
  if (dryRun !== true && done.length === 0 && refused.length === 0) console.log('nothing to change');
}

/** A file that is refused changes nothing: what was applied last stays. A service that is away is asked again. */
async function watch(
  flags: ApplyFlags,
  environment: Environment,
  target: ApplyTarget,
  known: FileContent,
): Promise<void> {
  using signals = new OutsideSignals();
  const { signal } = signals;
  for await (const content of fileChanges(flags.file, { known, everyMs: watchEveryMs, signal })) {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await once(flags, environment, target, content);
        break;
      } catch (error) {
        console.error(`signalbox: ${error instanceof Error ? error.message : String(error)}`);
        await new Pause().wait(backoffMs(attempt, { firstMs: 1000, maxMs: 30_000 }), signal);
      }
    }
  }
}
