import { isAborted } from '../runtime/pause.ts';
import type { Service } from '../runtime/service.ts';
import type { Term } from '../store/decisions.ts';

/** What the services of a term are made from. They need to know no more about elections than this. */
export interface TermContext {
  /** In whose name every write is made. */
  readonly term: Term;
  /** Aborted the moment the term ends, whatever the reason, before the services are stopped. */
  readonly signal: AbortSignal;
  /** A write was refused because somebody else leads (`failureKind` 'deposed'): the term ends at once. */
  readonly reportDeposed: (error: unknown) => void;
}

/** Makes the services of one term. They are used once: the next term gets new ones. */
export type TermServices = (context: TermContext) => readonly Service[];

export interface TermRunnerOptions {
  readonly services: TermServices;
  /** A service could not be made or started. The caller ends the term. */
  readonly onStartFailed: (error: unknown) => void;
  /** A service failed while stopping. The others are stopped all the same. */
  readonly onStopFailed: (error: unknown) => void;
}

/**
 * Starts the services of a term in order, keeps them until its signal aborts, stops them in reverse. Resolves when all
 * have stopped; never rejects. A start still under way when the term ends is stopped too, and stopped once more if it
 * finishes after that.
 */
export async function runTerm(context: TermContext, options: TermRunnerOptions): Promise<void> {
  const { signal } = context;
  if (isAborted(signal)) return;
  const ended = whenAborted(signal);
  const entered: Service[] = [];
  let slowStart: Promise<void> | undefined;
  try {
    for (const service of options.services(context)) {
      if (isAborted(signal)) break;
      entered.push(service);
      slowStart = service.start();
      await Promise.race([slowStart, ended]);
      if (!isAborted(signal)) slowStart = undefined;
    }
  } catch (error) {
    slowStart = undefined;
    options.onStartFailed(error);
  }
  await ended;
  for (const service of entered.toReversed()) await stop(service, options);
  const last = entered.at(-1);
  if (last === undefined || slowStart === undefined) return;
  try {
    await slowStart;
  } catch {
    // A start that fails after the term ended changes nothing any more.
  }
  await stop(last, options);
}

async function stop(service: Service, { onStopFailed }: TermRunnerOptions): Promise<void> {
  try {
    await service.stop();
  } catch (error) {
    onStopFailed(error);
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
