import type { CoreV1Api, CustomObjectsApi, KubeConfig } from '@kubernetes/client-node';
import { type Cluster, ClusterError, type RunEvent, type RunPatch } from '../cluster.ts';
import { type PipelineRun, readRun } from '../pipeline-run.ts';
import { called, callOptions, type Library, loadLibrary } from './call.ts';

export interface ConnectOptions {
  /** Default: KUBECONFIG, then ~/.kube/config, then the service account of the pod. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

export const pipelineRuns = { group: 'tekton.dev', version: 'v1', plural: 'pipelineruns' } as const;

/** The configuration to reach a cluster with. The library is loaded here and nowhere earlier. Throws what it finds wrong. */
export async function loadKubeConfig({ kubeconfig, context }: ConnectOptions): Promise<KubeConfig> {
  const library = await loadLibrary();
  const config = new library.KubeConfig();
  if (kubeconfig === undefined) config.loadFromDefault();
  else config.loadFromFile(kubeconfig);
  // What the library falls back to where it finds nothing: a port of this machine, on which may be anything.
  if (kubeconfig === undefined && config.getCurrentCluster()?.server === 'http://localhost:8080') {
    throw new Error('there is no kubeconfig (--kubeconfig, KUBECONFIG or ~/.kube/config), and this is no pod');
  }
  if (context !== undefined) {
    if (config.getContextObject(context) === null) throw new Error(`the kubeconfig has no context ${context}`);
    config.setCurrentContext(context);
  }
  if (config.getCurrentCluster() === null) throw new Error('the kubeconfig names no cluster');
  return config;
}

/** The calls of the gate, as that configuration makes them. */
export async function connectCluster(config: KubeConfig): Promise<Cluster> {
  const library = await loadLibrary();
  return new KubernetesCluster(config, library);
}

class KubernetesCluster implements Cluster {
  readonly #objects: CustomObjectsApi;
  readonly #core: CoreV1Api;
  readonly #library: Library;

  constructor(config: KubeConfig, library: Library) {
    this.#objects = config.makeApiClient(library.CustomObjectsApi);
    this.#core = config.makeApiClient(library.CoreV1Api);
    this.#library = library;
  }

  async getRun(namespace: string, name: string, signal: AbortSignal): Promise<PipelineRun | undefined> {
    const request = { ...pipelineRuns, namespace, name };
    try {
      const object: unknown = await called(
        this.#objects.getNamespacedCustomObject(request, callOptions(this.#library, signal)),
        signal,
      );
      return usable(object);
    } catch (error) {
      if (error instanceof ClusterError && error.failure === 'not_found') return undefined;
      throw error;
    }
  }

  async patchRun({ namespace, name }: PipelineRun, body: RunPatch, signal: AbortSignal): Promise<PipelineRun> {
    const request = { ...pipelineRuns, namespace, name, body, fieldManager: 'signalbox-gate' };
    const options = callOptions(this.#library, signal, this.#library.PatchStrategy.MergePatch);
    const object: unknown = await called(this.#objects.patchNamespacedCustomObject(request, options), signal);
    return usable(object);
  }

  async createEvent(run: PipelineRun, event: RunEvent, signal: AbortSignal): Promise<void> {
    const { namespace, uid, resourceVersion } = run;
    const now = new Date();
    const body = {
      metadata: { name: event.name, namespace },
      involvedObject: {
        apiVersion: `${pipelineRuns.group}/${pipelineRuns.version}`,
        kind: 'PipelineRun',
        namespace,
        name: run.name,
        uid,
        resourceVersion,
      },
      type: event.type,
      reason: event.reason,
      message: event.message.slice(0, 1000),
      source: { component: 'signalbox-gate' },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- the library's models are plain records; it never looks for their classes
    const request = this.#core.createNamespacedEvent({ namespace, body }, callOptions(this.#library, signal));
    await called(request, signal);
  }
}

function usable(object: unknown): PipelineRun {
  const run = readRun(object);
  if (run === undefined) throw new ClusterError('unknown', 'the API server answered with something else than a run');
  return run;
}
