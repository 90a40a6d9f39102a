import { SignalboxClient } from '../../../src/client/index.ts';
import { loadLibrary } from '../../../src/tekton/kubernetes/call.ts';
import { openGate, type RunningGateOptions } from '../../../src/tekton/run-gate.ts';
import type { Gate } from '../../../src/tekton/gate.ts';
import type { LogLine } from '../../../src/tekton/telling.ts';
import type { Service } from '../../../src/runtime/service.ts';
import { anId } from '../http-client.ts';
import { until } from '../until.ts';
import type { StoredRun } from './objects.ts';
import type { NewRun } from './run-store.ts';
import { KubernetesApi } from './server.ts';
import { Tekton } from './tekton.ts';

export type OpenGate = Service & { readonly gate: Gate };

export interface GateWishes extends Partial<Omit<RunningGateOptions, 'client' | 'kubeConfig'>> {
  /** The service, if it is not the usual one: a proxy in front of it, say. */
  readonly url?: string;
  /** The API server's bearer token: which gate a call is of. */
  readonly token?: string;
}

/** A cluster with Tekton in it, and gates in front of a service. */
export class GateBench implements AsyncDisposable {
  readonly api: KubernetesApi;
  readonly tekton: Tekton;
  /** A queue that nobody else uses. */
  readonly queue = anId('repo');
  readonly log: LogLine[] = [];
  readonly #url: string;
  readonly #open: OpenGate[] = [];

  private constructor(api: KubernetesApi, url: string, runMs: number | undefined) {
    this.api = api;
    this.#url = url;
    this.tekton = new Tekton(api.runs, { runMs });
  }

  /** `runMs`: how long runs go; absent, until they are told to finish. */
  static async start(url: string, { runMs }: { readonly runMs?: number } = {}): Promise<GateBench> {
    return new GateBench(await KubernetesApi.start(), url, runMs);
  }

  async gate(wishes: GateWishes = {}): Promise<OpenGate> {
    const { url = this.#url, token = 'gate', ...options } = wishes;
    const { KubeConfig } = await loadLibrary();
    const kubeConfig = new KubeConfig();
    kubeConfig.loadFromClusterAndUser(
      { name: 'here', server: this.api.url, skipTLSVerify: true },
      { name: token, token },
    );
    const open = await openGate({
      client: new SignalboxClient({ url, retry: { attempts: 1 } }),
      kubeConfig,
      namespaces: [],
      rules: { queuePrefix: '', ttlMs: 5000 },
      pollMs: 100,
      placeEveryMs: 100,
      log: (line) => this.log.push(line),
      graceMs: 0,
      ...options,
    });
    await open.start();
    this.#open.push(open);
    return open;
  }

  /** A run that waits for its turn, as users create it. */
  run(name: string, wishes: Omit<NewRun, 'name'> = {}): StoredRun {
    const { annotations, ...rest } = wishes;
    return this.api.runs.create({
      specStatus: 'PipelineRunPending',
      ...rest,
      name,
      annotations: { 'signalbox.dev/queue': this.queue, ...annotations },
    });
  }

  runs(...names: readonly string[]): void {
    for (const name of names) this.run(name);
  }

  note(name: string, annotation: string): string | undefined {
    return this.api.runs.get(name).metadata.annotations?.[`signalbox.dev/${annotation}`];
  }

  async untilNoted(name: string, annotation: string, value: string, timeoutMs = 20_000): Promise<void> {
    await until(() => this.note(name, annotation) === value, { what: `${name} has ${annotation} ${value}`, timeoutMs });
  }

  async untilGoing(...names: readonly string[]): Promise<void> {
    const wanted = [...names].sort().join();
    await until(() => [...this.tekton.going].sort().join() === wanted, {
      what: `${wanted} go, and nothing else`,
      timeoutMs: 20_000,
    });
  }

  async untilFinished(count: number, timeoutMs = 20_000): Promise<void> {
    await until(() => this.tekton.finished >= count, { what: `${count} runs have finished`, timeoutMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#open.map((open) => open.stop()));
    this.tekton[Symbol.dispose]();
    await this.api[Symbol.asyncDispose]();
  }
}

/** A gate that dies: nothing it had begun is waited for, nothing is said to anybody. What it sent may still be done. */
export function kill(open: OpenGate): void {
  void open.stop();
}
