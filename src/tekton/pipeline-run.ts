/** What the gate knows of a PipelineRun: the few fields it reads, already checked. */
export interface PipelineRun {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly createdAt: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Tekton's `spec.status`: what is asked of the run. */
  readonly asked: string | undefined;
  /** Of the condition `Succeeded`, once there is one. */
  readonly succeeded: 'True' | 'False' | 'Unknown' | undefined;
  readonly reason: string | undefined;
  readonly hasStartTime: boolean;
  /** Set as soon as its deletion was asked for. */
  readonly isBeingDeleted: boolean;
}

/** `spec.status` of a run that Tekton does not start. Clearing it is the start. */
export const pendingBit = 'PipelineRunPending';

/**
 * pending: Tekton does not start it, whatever happens. going: it runs, or may at any moment. finished: it is provably not
 * going and never will be again.
 */
export type Life = 'pending' | 'going' | 'finished';

/** Status alone tells: no annotation of ours makes a run finished or keeps it from being so. */
export function lifeOf(run: PipelineRun): Life {
  if (run.succeeded === 'True' || run.succeeded === 'False') return 'finished';
  if (run.asked === pendingBit) return 'pending';
  // Cancelled before it was ever begun: Tekton runs nothing of it. (The graceful kinds run what is under `finally`.)
  if (run.asked === 'Cancelled' && !run.hasStartTime && run.succeeded === undefined) return 'finished';
  return 'going';
}

/** How a finished run ended, in the words of a release. */
export function outcomeOf(run: PipelineRun): 'success' | 'failure' | 'cancelled' {
  if (run.succeeded === 'True') return 'success';
  const isCancelled = /^(Cancelled|StoppedRunFinally|PipelineRunCancelled)/.test(run.reason ?? run.asked ?? '');
  return isCancelled ? 'cancelled' : 'failure';
}

/** Reads what the API server sent. undefined: not a PipelineRun with the identity that every stored object has. */
export function readRun(object: unknown): PipelineRun | undefined {
  const { metadata, spec, status } = fields(object);
  const { namespace, name, uid, resourceVersion, creationTimestamp, deletionTimestamp, annotations, labels } =
    fields(metadata);
  if (!isText(namespace) || !isText(name) || !isText(uid) || !isText(resourceVersion)) return undefined;
  const { conditions, startTime } = fields(status);
  const condition = fields(
    Array.isArray(conditions) ? conditions.find((one: unknown) => fields(one)['type'] === 'Succeeded') : undefined,
  );
  const succeeded = condition['status'];
  const asked = fields(spec)['status'];
  return {
    namespace,
    name,
    uid,
    resourceVersion,
    createdAt: isText(creationTimestamp) ? creationTimestamp : '',
    annotations: texts(annotations),
    labels: texts(labels),
    asked: isText(asked) ? asked : undefined,
    succeeded: succeeded === 'True' || succeeded === 'False' || succeeded === 'Unknown' ? succeeded : undefined,
    reason: isText(condition['reason']) ? condition['reason'] : undefined,
    hasStartTime: isText(startTime),
    isBeingDeleted: isText(deletionTimestamp),
  };
}

/** Older ones first; of one moment, by name. */
export function byAge(a: PipelineRun, b: PipelineRun): number {
  const [left, right] = [`${a.createdAt} ${a.namespace}/${a.name}`, `${b.createdAt} ${b.namespace}/${b.name}`];
  return left < right ? -1 : left > right ? 1 : 0;
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function texts(value: unknown): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(fields(value)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}
