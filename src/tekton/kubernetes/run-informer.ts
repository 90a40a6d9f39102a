import type { KubeConfig, KubernetesObject, ListWatch } from '@kubernetes/client-node';
import { backoffMs } from '../../runtime/backoff.ts';
import { isAborted, Pause } from '../../runtime/pause.ts';
import type { Service } from '../../runtime/service.ts';
import { type PipelineRun, readRun } from '../pipeline-run.ts';
import { loadLibrary } from './call.ts';
import { pipelineRuns } from './connect.ts';
import { listRuns, type ListScope } from './list-runs.ts';

export interface RunListener {
  /** As it is now: new, changed, or seen again. */
  seen(run: PipelineRun): void;
  /** It is no longer there. What took its name is `seen` by itself. */
  gone(run: PipelineRun): void;
  /** All that is there has been seen. After every list of a scope. */
  listed(scope: ListScope, runs: readonly PipelineRun[]): void;
  /** A list or a watch failed; it is begun again with backoff. */
  failed(error: unknown): void;
}

/**
 * Tells of the runs of one scope, by the official client's informer: a list in pages, then a watch with bookmarks from where
 * the list was; broken watches go on from their last version, and one that is too old (410) is listed anew.
 */
export class RunInformer implements Service {
  readonly name: string;
  readonly #config: KubeConfig;
  readonly #scope: ListScope;
  readonly #listener: RunListener;
  readonly #pause = new Pause();
  #abort: AbortController | undefined;
  #informer: ListWatch<KubernetesObject> | undefined;
  #failures = 0;
  #restarting: Promise<void> = Promise.resolve();

  constructor(config: KubeConfig, scope: ListScope, listener: RunListener) {
    this.name = `runs of ${scope.namespace ?? 'all namespaces'}`;
    this.#config = config;
    this.#scope = scope;
    this.#listener = listener;
  }

  /** Resolves when it is trying; `listed` tells when it knows. */
  async start(): Promise<void> {
    if (this.#abort !== undefined) return;
    const { signal } = (this.#abort = new AbortController());
    const library = await loadLibrary();
    const objects = this.#config.makeApiClient(library.CustomObjectsApi);
    /** A watch that cannot even be begun ends as any other does; the library's would be an unhandled rejection. */
    class SafeWatch extends library.Watch {
      override async watch(...[path, query, tell, done]: Parameters<typeof library.Watch.prototype.watch>) {
        try {
          return await super.watch(path, query, tell, done);
        } catch (error) {
          done(error);
          return new AbortController();
        }
      }
    }
    const list = async () => {
      const all = await listRuns(library, objects, this.#scope, signal);
      this.#failures = 0;
      const runs = all.items.flatMap((item) => readRun(item) ?? []);
      // After the informer has told of each of them, which it does as soon as this has resolved.
      setImmediate(() => {
        if (!signal.aborted) this.#listener.listed(this.#scope, runs);
      });
      return all;
    };
    const informer = new library.ListWatch(
      `${this.#path()}?allowWatchBookmarks=true`,
      new SafeWatch(this.#config),
      list,
      false,
      this.#scope.labelSelector,
    );
    const seen = (object: KubernetesObject) => {
      const run = readRun(object);
      if (run !== undefined && !signal.aborted) this.#listener.seen(run);
    };
    informer.on('add', seen);
    informer.on('update', seen);
    informer.on('delete', (object) => {
      const run = readRun(object);
      if (run !== undefined && !signal.aborted) this.#listener.gone(run);
    });
    informer.on('error', (error: unknown) => {
      if (signal.aborted) return;
      this.#listener.failed(error);
      this.#restarting = this.#restarting.then(() => this.#restart(informer, signal));
    });
    this.#informer = informer;
    void informer.start();
  }

  async stop(): Promise<void> {
    this.#abort?.abort();
    this.#abort = undefined;
    await this.#informer?.stop();
    this.#informer = undefined;
    await this.#restarting;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #restart(informer: ListWatch<KubernetesObject>, signal: AbortSignal): Promise<void> {
    await this.#pause.wait(backoffMs(this.#failures++, { firstMs: 200, maxMs: 10_000 }), signal);
    if (!isAborted(signal)) void informer.start();
  }

  #path(): string {
    const { group, version, plural } = pipelineRuns;
    const { namespace } = this.#scope;
    return `/apis/${group}/${version}/${namespace === undefined ? '' : `namespaces/${namespace}/`}${plural}`;
  }
}
