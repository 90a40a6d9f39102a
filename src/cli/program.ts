import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { programVersion } from '../runtime/version.ts';
import { type ApplyFlags, describeApply } from './apply.ts';
import { addBlockedCommands } from './blocked.ts';
import { type CleanFlags, cleanCommand, describeClean } from './clean.ts';
import { addDeadLetterCommands } from './dead-letters.ts';
import { describeElect, electCommand, type ElectFlags } from './elect.ts';
import { exitCode } from './exit-codes.ts';
import { addFailoverCommands } from './failover.ts';
import { addMergeQueueCommands } from './merge-queue.ts';
import { addQueueCommands } from './queue.ts';
import { describeRun, runCommand, type RunFlags } from './run.ts';
import { describeStatus, statusCommand, type StatusFlags } from './status.ts';
import { describeTekton, tektonCommand, type TektonFlags } from './tekton.ts';
import { addWebhookCommands } from './webhook.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Runs one command and returns the exit code. Only this function knows which error ends with which. */
export async function runCommandLine(argv: readonly string[], environment: Environment): Promise<number> {
  const program = new Command('signalbox')
    .description('Many processes, any machine, share limited things safely, through Postgres.')
    .version(programVersion)
    .exitOverride();
  let result: number = exitCode.ok;
  program
    .command('serve')
    .description('run a replica; settings come from the environment (see the README)')
    .action(async () => {
      const { serveCommand } = await import('./serve.ts');
      result = await serveCommand(environment);
    });
  program
    .command('migrate')
    .description('bring the database schema to this version')
    .option('--pending', 'show what would be done and change nothing; exits 1 if something is pending')
    .action(async (options: { pending?: true }) => {
      const { migrateCommand } = await import('./migrate.ts');
      result = await migrateCommand(environment, { pendingOnly: options.pending === true });
    });
  if (!isClientCommand(argv[2])) {
    const { addTokenCommands } = await import('./token.ts');
    addTokenCommands(program, environment, (code) => {
      result = code;
    });
  }
  // For `run` and `elect`: what follows the name of the command to run is that command's.
  program.enablePositionalOptions();
  describeRun(program.command('run')).action(async (words: string[], flags: RunFlags) => {
    result = await runCommand(flags, words, environment);
  });
  describeElect(program.command('elect')).action(async (words: string[], flags: ElectFlags) => {
    result = await electCommand(flags, words, environment);
  });
  describeClean(program.command('clean')).action(async (queue: string, words: string[], flags: CleanFlags) => {
    result = await cleanCommand(flags, queue, words, environment);
  });
  describeStatus(program.command('status')).action(async (names: string[], flags: StatusFlags) => {
    result = await statusCommand(flags, names, environment);
  });
  describeTekton(program.command('tekton')).action(async (flags: TektonFlags) => {
    result = await tektonCommand(flags, environment);
  });
  describeApply(program.command('apply')).action(async (flags: ApplyFlags) => {
    // Loaded only here: no other client command reads files.
    const { applyCommand } = await import('./apply/command.ts');
    result = await applyCommand(flags, environment);
  });
  const done = (code: number) => {
    result = code;
  };
  addDeadLetterCommands(program, environment, done);
  addBlockedCommands(program, environment, done);
  addFailoverCommands(program, environment, done);
  addQueueCommands(program, environment, done);
  addMergeQueueCommands(program, environment, done);
  addWebhookCommands(program, environment, done);
  try {
    await program.parseAsync(argv);
    return result;
  } catch (error) {
    // Commander has told about what it found itself; this one comes from a setting that a command read.
    if (error instanceof InvalidArgumentError) console.error(`signalbox: ${error.message}`);
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
    console.error(`signalbox: ${error instanceof Error ? error.message : String(error)}`);
    if (isClientCommand(argv[2])) return exitCode.failed;
    const [{ SettingsError }, { SchemaTooNewError }] = await Promise.all([
      import('../config/settings.ts'),
      import('../store/migrator.ts'),
    ]);
    if (error instanceof SettingsError) return exitCode.usage;
    if (error instanceof SchemaTooNewError) return exitCode.schemaTooNew;
    return exitCode.failed;
  }
}

/**
 * Commands that only talk to a service. They are started for every job, so nothing of the server is loaded for them: that
 * would cost most of their start.
 */
function isClientCommand(name: string | undefined): boolean {
  return (
    name !== undefined &&
    [
      'run',
      'elect',
      'clean',
      'status',
      'dead-letters',
      'blocked',
      'failover',
      'queue',
      'merge-queue',
      'webhook',
      'tekton',
      'apply',
    ].includes(name)
  );
}
