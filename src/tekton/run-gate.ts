import type { KubeConfig } from '@kubernetes/client-node';
import { type Service, startAll, stopAll } from '../runtime/service.ts';
import { Gate, type GateOptions } from './gate.ts';
import { connectCluster } from './kubernetes/connect.ts';
import { RunInformer } from './kubernetes/run-informer.ts';

export interface RunningGateOptions extends Omit<GateOptions, 'cluster'> {
  readonly kubeConfig: KubeConfig;
  /** Empty: all namespaces. */
  readonly namespaces: readonly string[];
  readonly labelSelector?: string | undefined;
  readonly pageSize?: number;
}

/** A gate and the informers that tell it of runs, as one service. */
export async function openGate(options: RunningGateOptions): Promise<Service & { readonly gate: Gate }> {
  const { kubeConfig, namespaces, labelSelector, pageSize = 500, log } = options;
  const gate = new Gate({ ...options, cluster: await connectCluster(kubeConfig) });
  const scopes = namespaces.length === 0 ? [undefined] : [...new Set(namespaces)];
  const unlisted = new Set<string | undefined>(scopes);
  const informers = scopes.map(
    (namespace) =>
      new RunInformer(
        kubeConfig,
        { namespace, labelSelector, pageSize },
        {
          seen: (run) => gate.seen(run),
          gone: (run) => gate.gone(run),
          listed: (scope) => {
            unlisted.delete(scope.namespace);
            if (unlisted.size === 0) gate.ready();
          },
          failed: (error) => log({ level: 'warn', message: 'list or watch of runs failed; trying on', error }),
        },
      ),
  );
  const services = [gate, ...informers];
  return {
    gate,
    name: gate.name,
    start: () => startAll(services),
    stop: () => stopAll(services),
    [Symbol.asyncDispose]: () => stopAll(services),
  };
}
