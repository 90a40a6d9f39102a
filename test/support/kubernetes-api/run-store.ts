import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { mergePatched, type StoredRun } from './objects.ts';

export interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly run: StoredRun;
  readonly before: StoredRun | undefined;
}

export interface NewRun {
  readonly name: string;
  readonly namespace?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** undefined: as any run is created. */
  readonly specStatus?: string | undefined;
}

/** A refusal, in the API server's words. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The runs of a cluster, their versions, and what happened to them: what etcd is to an API server. */
export class RunStore {
  readonly changes: Change[] = [];
  readonly #runs = new Map<string, StoredRun>();
  readonly #events = new EventEmitter<{ change: [Change] }>().setMaxListeners(1000);
  /** Real ones do not begin at 1 either. */
  #version = 1000;
  #created = 0;
  #oldestVersion = 1000;

  get version(): number {
    return this.#version;
  }

  /** Watches may begin here or later. */
  get oldestVersion(): number {
    return this.#oldestVersion;
  }

  /** Forgets what happened until now: older watches get 410. */
  compact(): void {
    this.#oldestVersion = this.#version;
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#events.on('change', listener);
    return () => this.#events.off('change', listener);
  }

  list(): readonly StoredRun[] {
    return [...this.#runs.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, run]) => run);
  }

  find(namespace: string, name: string): StoredRun | undefined {
    return this.#runs.get(`${namespace}/${name}`);
  }

  get(name: string, namespace = 'ci'): StoredRun {
    const run = this.find(namespace, name);
    if (run === undefined) throw new Refused(404, `pipelineruns.tekton.dev "${name}" not found`);
    return run;
  }

  create({ name, namespace = 'ci', annotations = {}, labels = {}, specStatus }: NewRun): StoredRun {
    if (this.find(namespace, name) !== undefined)
      throw new Refused(409, `pipelineruns.tekton.dev "${name}" already exists`);
    // A second apart, so that their order is beyond doubt.
    const createdAt = new Date(Date.UTC(2026, 0, 1) + 1000 * this.#created++);
    return this.#put('ADDED', undefined, {
      apiVersion: 'tekton.dev/v1',
      kind: 'PipelineRun',
      metadata: {
        namespace,
        name,
        uid: randomUUID(),
        resourceVersion: '',
        creationTimestamp: createdAt.toISOString().replace('.000', ''),
        annotations,
        labels,
      },
      spec: { pipelineRef: { name: 'build' }, ...(specStatus === undefined ? {} : { status: specStatus }) },
    });
  }

  /** As the API server does: the version is compared first, then the uid is immutable. */
  patch(namespace: string, name: string, patch: unknown): StoredRun {
    const before = this.get(name, namespace);
    const wanted = (patch as { metadata?: { uid?: string; resourceVersion?: string } }).metadata ?? {};
    if (wanted.resourceVersion !== undefined && wanted.resourceVersion !== before.metadata.resourceVersion)
      throw new Refused(
        409,
        `Operation cannot be fulfilled on pipelineruns.tekton.dev "${name}": the object has been modified`,
      );
    if (wanted.uid !== undefined && wanted.uid !== before.metadata.uid)
      throw new Refused(422, `PipelineRun.tekton.dev "${name}" is invalid: metadata.uid: field is immutable`);
    const after = mergePatched(before, patch) as StoredRun;
    if (JSON.stringify(after) === JSON.stringify(before)) return before;
    return this.#put('MODIFIED', before, after);
  }

  delete(name: string, namespace = 'ci'): void {
    const before = this.get(name, namespace);
    this.#runs.delete(`${namespace}/${name}`);
    this.#tell('DELETED', before, {
      ...before,
      metadata: { ...before.metadata, resourceVersion: `${++this.#version}` },
    });
  }

  #put(type: 'ADDED' | 'MODIFIED', before: StoredRun | undefined, run: StoredRun): StoredRun {
    const stored = { ...run, metadata: { ...run.metadata, resourceVersion: `${++this.#version}` } };
    this.#runs.set(`${run.metadata.namespace}/${run.metadata.name}`, stored);
    this.#tell(type, before, stored);
    return stored;
  }

  #tell(type: Change['type'], before: StoredRun | undefined, run: StoredRun): void {
    const change = { type, version: this.#version, run, before };
    this.changes.push(change);
    this.#events.emit('change', change);
  }
}
