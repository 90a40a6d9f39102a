import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CallContext } from '../protocol/coordinator.ts';
import { SignalboxError } from '../protocol/errors.ts';

/**
 * The long-polls under way, and whether the server is stopping.
 *
 * Their signals abort with a plain AbortError when the client hangs up, and with SignalboxError `shutting_down` as the
 * reason when the server stops: the client is still there then and deserves the claim's present state; a coordinator
 * that throws instead makes a 503 `shutting_down`, which is safe since asking again is idempotent.
 */
export class LongPolls {
  #draining = false;
  readonly #waiting = new Set<AbortController>();

  get draining(): boolean {
    return this.#draining;
  }

  /** Ends every wait, now and from now on. Calls that do not wait are left to finish. */
  drain(): void {
    this.#draining = true;
    for (const controller of this.#waiting) this.#end(controller);
    this.#waiting.clear();
  }

  enter(controller: AbortController): void {
    if (this.#draining) this.#end(controller);
    else this.#waiting.add(controller);
  }

  leave(controller: AbortController): void {
    this.#waiting.delete(controller);
  }

  #end(controller: AbortController): void {
    controller.abort(new SignalboxError('shutting_down'));
  }
}

/**
 * How this request arrived. The signal comes from the response: fastify's own `request.signal` listens to the request,
 * whose 'close' comes as soon as its body has been read. `waitMs` above 0 makes it one of the `longPolls`.
 */
export function openCall(
  request: FastifyRequest,
  reply: FastifyReply,
  { waitMs, longPolls }: { waitMs: number; longPolls: LongPolls },
): CallContext {
  const controller = new AbortController();
  const response = reply.raw;
  const waits = waitMs > 0;
  if (waits) longPolls.enter(controller);
  response.once('close', () => {
    if (waits) longPolls.leave(controller);
    if (!response.writableEnded) controller.abort();
  });
  // The client may have gone while its body was being read; then 'close' has been and gone too.
  if (response.destroyed) controller.abort();
  return { receivedAtMs: request.receivedAtMs, signal: controller.signal };
}
