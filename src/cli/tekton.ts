import { type Command, InvalidArgumentError, Option } from 'commander';
import { SignalboxError } from '../protocol/errors.ts';
import type { ReplicaId } from '../protocol/ids.ts';
import { processIdentity } from '../runtime/ids.ts';
import { durationMs } from './duration.ts';
import { exitCode, runExitCode } from './exit-codes.ts';
import type { Environment } from './program.ts';
import { OutsideSignals } from './run/outside-signals.ts';
import { clientOf, type ServiceFlags, withServiceOptions } from './service-options.ts';

export interface TektonFlags extends ServiceFlags {
  readonly namespace?: readonly string[];
  readonly selector?: string;
  readonly queuePrefix: string;
  readonly ttl: number;
  readonly poll: number;
  readonly annotateEvery: number;
  readonly pageSize: number;
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly logLevel: string;
}

export function describeTekton(command: Command): Command {
  return withServiceOptions(command)
    .description('start the Tekton PipelineRuns of a cluster as their queues let them')
    .option('--namespace <namespace>', 'only runs of this namespace; may be repeated (default: all)', repeated)
    .option('--selector <labels>', 'only runs with these labels, in the words of kubectl -l')
    .option(
      '--queue-prefix <prefix>',
      "in front of every queue's name; {namespace} stands for the run's",
      queuePrefix,
      '',
    )
    .addOption(
      new Option('--ttl <duration>', 'length of the leases of runs that name none')
        .argParser(durationMs(1000, 86_400_000))
        .default(30_000, '30s'),
    )
    .addOption(
      new Option('--poll <duration>', 'how often the service is asked about the head of a line')
        .argParser(durationMs(100, 3000))
        .default(1000, '1s'),
    )
    .addOption(
      new Option('--annotate-every <duration>', "how often a run's position is written at most")
        .argParser(durationMs(1000, 3_600_000))
        .default(15_000, '15s'),
    )
    .addOption(new Option('--page-size <n>', 'runs of one answer of a list').argParser(pageSize).default(500))
    .option('--kubeconfig <file>', 'default: KUBECONFIG, ~/.kube/config, then the service account of the pod')
    .option('--context <name>', 'of the kubeconfig')
    .addOption(new Option('--log-level <level>').choices(['debug', 'info', 'warn', 'error', 'silent']).default('info'))
    .addHelpText(
      'after',
      `
Any number of gates may run at once, and any may die at any moment. A stopping gate gives no place back: another one goes
on with the leases. Exit codes: 0 after TERM or INT; 2 arguments or kubeconfig not usable; 123 the service refused the token.`,
    );
}

/**
 * `signalbox tekton`: the gate of a cluster's PipelineRuns, until TERM, INT or HUP. A cluster or service that cannot be
 * reached is tried again for as long as it takes; a token that the service refuses ends it, and so does an unusable kubeconfig.
 */
export async function tektonCommand(flags: TektonFlags, environment: Environment): Promise<number> {
  const client = clientOf(flags, environment);
  // The Kubernetes client and the log are for this command alone.
  const [{ openGate }, { loadKubeConfig }, { createLog }] = await Promise.all([
    import('../tekton/run-gate.ts'),
    import('../tekton/kubernetes/connect.ts'),
    import('../telemetry/log.ts'),
  ]).catch((error: unknown) => {
    if (!isMissingPackage(error)) throw error;
    throw new InvalidArgumentError(
      'It needs the optional package @kubernetes/client-node, which was left out when Signalbox was installed (npm ci without --omit=optional; the image is that of deploy/tekton/Dockerfile).',
    );
  });
  const kubeConfig = await loadKubeConfig(flags).catch((error: unknown) => {
    throw new InvalidArgumentError(`The kubeconfig is not usable: ${messageOf(error)}`);
  });
  using signals = new OutsideSignals();
  const refusal = await refusalOf(client.listQueues({ limit: 1, signal: signals.signal, retry: { attempts: 1 } }));
  if (refusal !== undefined) {
    console.error(`signalbox: ${refusal}`);
    return runExitCode.noService;
  }
  const log = createLog(flags.logLevel, processIdentity() as ReplicaId);
  const gate = await openGate({
    client,
    kubeConfig,
    namespaces: flags.namespace ?? [],
    labelSelector: flags.selector,
    pageSize: flags.pageSize,
    rules: { queuePrefix: flags.queuePrefix, ttlMs: flags.ttl },
    pollMs: flags.poll,
    placeEveryMs: flags.annotateEvery,
    log: ({ level, message, error, ...fields }) => {
      log[level]({ ...fields, ...(error === undefined ? {} : { error: messageOf(error) }) }, message);
    },
  });
  await gate.start();
  log.info({ cluster: kubeConfig.getCurrentCluster()?.server, service: client.url }, 'the gate is open');
  await new Promise<void>((resolve) => {
    signals.listen(() => resolve());
  });
  log.info('stopping; leases are kept for the next gate');
  await gate.stop();
  return exitCode.ok;
}

/** What the service says against the token; a service that does not answer says nothing against it. */
async function refusalOf(call: Promise<unknown>): Promise<string | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    return error instanceof SignalboxError && error.code === 'unauthenticated' ? error.message : undefined;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function repeated(value: string, known: readonly string[] = []): readonly string[] {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(value)) throw new InvalidArgumentError('It must be a namespace.');
  return [...known, value];
}

function queuePrefix(text: string): string {
  if (!/^[A-Za-z0-9._:/@-]{0,100}$/.test(text.replaceAll('{namespace}', '')))
    throw new InvalidArgumentError('It must be of A-Z a-z 0-9 . _ : / @ - and {namespace}, up to 100 characters.');
  return text;
}

function pageSize(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1 to 99999.');
  return Number(text);
}

function isMissingPackage(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
}
