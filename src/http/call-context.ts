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
 * whose 'close' comes as soon as its body has been read. It is made when it is first asked for: most calls never are, and
 * a controller with its listener costs more than checking the body.
 */
class HttpCall implements CallContext {
  readonly receivedAtMs: number;
  readonly onlyLooks: boolean;
  readonly #response: FastifyReply['raw'];
  #controller: AbortController | undefined;

  constructor(request: FastifyRequest, reply: FastifyReply, onlyLooks: boolean) {
    this.receivedAtMs = request.receivedAtMs;
    this.onlyLooks = onlyLooks;
    this.#response = reply.raw;
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get controller(): AbortController {
    if (this.#controller !== undefined) return this.#controller;
    const controller = new AbortController();
    this.#controller = controller;
    const response = this.#response;
    response.once('close', () => {
      if (!response.writableEnded) controller.abort();
    });
    // The client may have gone before, while its body was being read; then 'close' has been and gone.
    if (response.destroyed && !response.writableEnded) controller.abort();
    return controller;
  }
}

/** `waitMs` above 0 makes the call one of the `longPolls`. `onlyLooks`: see CallContext. */
export function openCall(
  request: FastifyRequest,
  reply: FastifyReply,
  { waitMs, longPolls, onlyLooks = false }: { waitMs: number; longPolls: LongPolls; onlyLooks?: boolean },
): CallContext {
  const call = new HttpCall(request, reply, onlyLooks);
  if (waitMs > 0) {
    longPolls.enter(call.controller);
    reply.raw.once('close', () => longPolls.leave(call.controller));
  }
  return call;
}
