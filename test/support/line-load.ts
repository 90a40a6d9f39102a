import type pg from 'pg';
import { makeQueues, oneOf, rowsOf, take } from './sql-verbs.ts';

export interface Newcomer {
  readonly claim_id: string;
  readonly priority?: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** One decision about the queue, as the feed tells it, in the order in which it was made. */
export interface LineEvent {
  readonly type: 'claim.queued' | 'lease.granted';
  readonly claim_id: string;
  readonly at_ms: number;
}

/**
 * A queue under load on one connection, whose clock stands still within a call. Its waiting rows refuse every update: what
 * stands in line is written once.
 */
export async function openLine(client: pg.Client, queue: string, kind: 'claim' | 'run', settings: object) {
  // From today: only around it are there partitions for events.
  const { start } = await oneOf<{ start: string }>(client, `select date_trunc('day', now())::text as start`);
  await client.query(`create or replace function signalbox.clock() returns timestamptz language sql volatile parallel safe
    as $$ select timestamptz '${start}' + current_setting('test.clock_ms')::bigint * interval '1 ms' $$`);
  await client.query(`create or replace function public.refuse() returns trigger language plpgsql
    as $$ begin raise exception 'a waiting row is rewritten'; end $$`);
  await client.query(`create or replace trigger written_once before update on signalbox.waiting
    for each statement execute function public.refuse()`);
  let clockMs = 0;
  await client.query(`set test.clock_ms = '0'`);
  await makeQueues(client, [queue], { max_ttl_ms: 86_400_000, ...settings });
  return {
    clockMs: () => clockMs,
    /**
     * Time passes; holders drawn by `salt` (`percent` of them) release, and claims that wait get their places; then these ask.
     * Runs get places after that, by a worker that takes what there is.
     */
    step: async (passesMs: number, percent: number, newcomers: readonly Newcomer[], salt: number): Promise<void> => {
      clockMs += passesMs;
      const asking = newcomers.map((one) => ({
        ...{ op: kind === 'run' ? 'enqueue' : 'acquire', queue, holder: 'h' },
        ...{ ttl_ms: 86_400_000, listen_ms: 86_400_000, fresh: true, ...one },
      }));
      await client.query({
        name: `a step of a line`,
        text: `select from (select set_config('test.clock_ms', $1, false)) clock
          cross join lateral signalbox_v1.decide((
            select coalesce(jsonb_agg(jsonb_build_object('op', 'release', 'queue', l.queue, 'claim_id', l.claim_id,
                'fencing_token', l.fencing_token)), '[]') || $2::jsonb
            from signalbox.leases l
            where l.queue = $3 and l.state = 'held' and length(clock::text) > 0
              and abs(hashtext(l.claim_id || $4)) % 100 < $5), false, true) d`,
        values: [String(clockMs), JSON.stringify(asking), queue, String(salt), percent],
      });
      if (kind === 'run') await take(client, { queue, max: 1000, ttl_ms: 86_400_000, bytes: 1_000_000_000 });
    },
    isBusy: async () =>
      (
        await oneOf<{ is_busy: boolean }>(
          client,
          'select waiting + runs > 0 as is_busy from signalbox.lines where queue = $1',
          [queue],
        )
      ).is_busy,
    /** Everything that happened in this line. */
    events: () =>
      rowsOf<LineEvent>(
        client,
        `select type, claim_id, (extract(epoch from at - $2::timestamptz) * 1000)::float8 as at_ms
         from signalbox.events where queue = $1 and type in ('claim.queued', 'lease.granted') order by id`,
        [queue, start],
      ),
  };
}

/** Numbers of chance that are the same on every run. */
export function drawsOf(seed: number) {
  let state = seed;
  /** 0 to `below` - 1. */
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
