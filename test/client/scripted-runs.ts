import type { TakenRun } from '../../src/protocol/runs.ts';
import { type Answer, type Asked, aHeldClaim, ScriptedService } from './scripted-service.ts';

type Call = 'take' | 'renew' | 'release';

/** `lost answer`: it takes effect, and the connection breaks. Absent: as a good service answers. */
export type Fault = Answer | 'lost answer' | undefined;

interface LeaseName {
  readonly queue: string;
  readonly claim_id: string;
  readonly fencing_token: number;
  readonly outcome?: string;
  readonly retry_after_ms?: number;
  readonly uncounted?: true;
  readonly error?: string;
}

/**
 * A scripted service for workers: it grants the runs it was given, keeps what is held, and remembers what it was asked. A
 * test breaks single calls by `fault` and ends leases by `lost`.
 */
export class ScriptedRuns implements AsyncDisposable {
  readonly waiting: Record<string, unknown>[] = [];
  readonly held = new Map<number, Record<string, unknown>>();
  /** Leases that are over, by claim id, with the reason. */
  readonly lost = new Map<string, string>();
  readonly cancelled = new Set<string>();
  /** In the order they were accepted. */
  readonly released: LeaseName[] = [];
  readonly calls: Record<Call, Asked[]> = { take: [], renew: [], release: [] };
  fault: (call: Call, number: number, asked: Asked) => Fault = () => undefined;
  #service: ScriptedService | undefined;
  readonly #granted = new Map<unknown, Record<string, unknown>[]>();
  #wake = Promise.withResolvers<unknown>();
  #token = 100;

  static async start(...claimIds: readonly string[]): Promise<ScriptedRuns> {
    const runs = new ScriptedRuns();
    runs.give(...claimIds);
    runs.#service = await ScriptedService.start((asked) => runs.#serve(asked));
    return runs;
  }

  get url(): string {
    return this.#service?.url ?? '';
  }

  /** Puts runs into the line. */
  give(...claimIds: readonly string[]): void {
    for (const claimId of claimIds) this.put({ claim_id: claimId });
  }

  put(change: Partial<Record<keyof TakenRun, unknown>>): void {
    this.waiting.push({ ...aHeldClaim(), kind: 'run', attempt: 1, max_attempts: 5, payload: null, ...change });
    this.#wake.resolve(undefined);
    this.#wake = Promise.withResolvers();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wake.resolve(undefined);
    await this.#service?.[Symbol.asyncDispose]();
  }

  async #serve(asked: Asked): Promise<Answer> {
    const call = asked.url === '/v1/take' ? 'take' : asked.url.endsWith('/renew') ? 'renew' : 'release';
    const fault = this.fault(call, this.calls[call].push(asked), asked);
    if (fault !== undefined && fault !== 'lost answer') return fault;
    const body =
      call === 'take' ? await this.#take(asked) : call === 'renew' ? this.#renew(asked) : this.#release(asked);
    return fault === 'lost answer' ? 'hang up' : { status: 200, body };
  }

  async #take({ body = {}, gone }: Asked): Promise<unknown> {
    const endsAtMs = performance.now() + Number(body['wait_ms']);
    for (;;) {
      const known = this.#granted.get(body['request_id']);
      if (known !== undefined) return { claims: known.filter((run) => this.held.has(run['fencing_token'] as number)) };
      if (gone.aborted) return { claims: [] };
      if (this.waiting.length > 0) return this.#grant(body);
      const leftMs = endsAtMs - performance.now();
      if (leftMs <= 0) return { claims: [] };
      const isOver = new Promise((resolve) => {
        setTimeout(resolve, leftMs);
        gone.addEventListener('abort', resolve);
      });
      await Promise.race([this.#wake.promise, isOver]);
    }
  }

  #grant(body: Record<string, unknown>): unknown {
    const claims = this.waiting
      .splice(0, Number(body['max']))
      .map((run) => ({ ...run, holder: body['holder'], fencing_token: ++this.#token }));
    for (const run of claims) this.held.set(run.fencing_token, run);
    this.#granted.set(body['request_id'], claims);
    return { claims };
  }

  #renew({ body }: Asked): unknown {
    const named = body?.['claims'] as LeaseName[];
    const isLost = ({ claim_id: id, fencing_token: token }: LeaseName) => this.lost.has(id) || !this.held.has(token);
    return {
      claims: named
        .filter((lease) => !isLost(lease))
        .map((lease) => ({
          ...this.held.get(lease.fencing_token),
          release_requested: this.cancelled.has(lease.claim_id),
        })),
      lost: named.filter(isLost).map(({ queue, claim_id, fencing_token }) => ({
        ...{ queue, claim_id, fencing_token, code: 'lease_lost' },
        reason: this.lost.get(claim_id) ?? 'released',
      })),
    };
  }

  #release({ body }: Asked): unknown {
    const results = (body?.['claims'] as LeaseName[]).map((ending) => {
      const { queue, claim_id, fencing_token } = ending;
      const run = this.held.get(fencing_token);
      const reason = this.lost.get(claim_id) ?? (this.held.delete(fencing_token) ? undefined : 'released');
      if (reason !== undefined) return { queue, claim_id, released: false, reason };
      this.released.push(ending);
      return { queue, claim_id, released: true, state: stateAfter(ending, run) };
    });
    return { results };
  }
}

function stateAfter(
  { outcome, uncounted, retry_after_ms: delayMs }: LeaseName,
  run: Record<string, unknown> = {},
): string {
  if (outcome !== 'retry') return 'released';
  if (uncounted !== true && Number(run['attempt']) >= Number(run['max_attempts'])) return 'dead';
  return delayMs === 0 ? 'waiting' : 'delayed';
}
