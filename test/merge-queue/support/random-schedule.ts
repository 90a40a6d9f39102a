import type {
  MergeAnswer,
  MergeQueueId,
  MergeQueueSettings,
  ReportedOutcome,
} from '../../../src/protocol/merge-queue.ts';
import type { Epoch, ReplicaId } from '../../../src/protocol/ids.ts';
import { systemClock } from '../../../src/runtime/clock.ts';
import type { Database } from '../../../src/store/database.ts';
import type { TestDatabase } from '../../support/database.ts';
import { rowsOf } from '../../support/sql-verbs.ts';
import { type FeedEnd, playFeed } from './feed-rules.ts';
import { type MortalReplica, mortalReplica } from './mortal-replica.ts';
import { type RandomNumbers, randomNumbers } from './random-numbers.ts';
import { aMergeQueue, openReplica, outcomeOf } from './service.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** A database with a clock of its own in which schedules run one after another. */
export interface Lane {
  readonly db: TestDatabase;
  readonly database: Database;
  readonly clock: VirtualClock;
}

/** What a build does once it has the lease. */
type Fate = ReportedOutcome | 'dies';

interface Client {
  readonly sha: string;
  readonly ref: string;
  readonly priority: number;
  readonly fate: Fate;
  /** It dies when it has asked so often in vain; null = it does not. */
  readonly patience: number | null;
  readonly holdsForMs: number;
  state: 'asking' | 'holding' | 'releasing' | 'done' | 'dead';
  asked: number;
  /** When it was last answered pending: it is registered until its ttl is over from then. */
  registeredAtMs: number | undefined;
  /** Replicas died under it for longer than its ttl: it may have been forgotten. */
  wasSilent: boolean;
  /** A call of it got no answer since it was last answered: it may have been told that it is completed. */
  mayBeTold: boolean;
  nextAtMs: number;
  grant: { token: number; acquiredAtMs: number; expiresAtMs: number } | undefined;
  /** Until when it may believe that it holds the lease; undefined while it has none. */
  believesUntilMs: number | undefined;
}

const ttlMs = 1000;
const holdTtlMs = 2000;
/** Nobody who lives waits longer between two calls; whoever got no answer asks again at once. */
const askEveryMs = 350;
/** Far more than the longest schedule takes: everybody dies, one after another. */
const patienceMs = 60_000;

function aClient(random: RandomNumbers, index: number, nowMs: number): Client {
  return {
    sha: `sha${index}`,
    ref: `gh-readonly-queue/main/pr-${index}-abc${index}`,
    priority: random.between(1, 5),
    fate: random.oneOf<Fate>(['success', 'success', 'failure', 'failure', 'cancelled', 'dies']),
    patience: random.chance(0.2) ? random.between(1, 4) : null,
    holdsForMs: random.between(0, 1500),
    state: 'asking',
    asked: 0,
    registeredAtMs: undefined,
    wasSilent: false,
    mayBeTold: false,
    nextAtMs: nowMs + random.between(0, 2000),
    grant: undefined,
    believesUntilMs: undefined,
  };
}

/**
 * One schedule, named by its seed. Throws where a promise is broken. The seed gives who comes, dies and says what; which of
 * the calls of one moment is first is the database's, as in life.
 */
export async function runSchedule(
  { db, database, clock }: Lane,
  seed: number,
): Promise<{ calls: number; deaths: number }> {
  const random = randomNumbers(seed);
  const id = aMergeQueue(`schedule-${seed}`);
  const settings: Partial<MergeQueueSettings> = {
    stabilisation_ms: random.oneOf([0, 200, 800]),
    ttl_ms: ttlMs,
    expected_count: random.between(1, 5),
    delay_count: random.oneOf([0, 0, 1, 2]),
    hold_ttl_ms: holdTtlMs,
    success_completes: random.oneOf(['all', 'all', 'contained']),
  };
  const hasLeader = random.chance(0.5);
  const late: (() => Promise<unknown>)[] = [];
  const mortal = () => mortalReplica(db, { database, settings, random, onLate: (run) => late.push(run) });
  const replicas: MortalReplica[] = [mortal(), mortal()];
  const clients = Array.from({ length: random.between(2, 6) }, (_, index) => aClient(random, index, clock.nowMs));
  const world: World = { id, random, replicas, clients, clock, calls: 0, toldInVain: [], said: [] };
  let deaths = 0;

  const startedAtMs = clock.nowMs;
  while (clients.some(({ state }) => state !== 'done' && state !== 'dead')) {
    if (clock.nowMs - startedAtMs > patienceMs) throw broken(world, 'it did not end');
    await clock.pass(random.between(50, askEveryMs));
    for (const [index, { isDead }] of replicas.entries())
      if (isDead) {
        deaths++;
        replicas[index] = mortal();
      }
    const due = clients.filter(
      ({ nextAtMs, state }) => nextAtMs <= clock.nowMs && state !== 'done' && state !== 'dead',
    );
    await Promise.all(due.map((client) => act(world, client)));
    if (late.length > 0 && random.chance(0.5)) await late.shift()?.();
    if (hasLeader && random.chance(0.5)) await tick({ db, database, clock }, world, settings);
  }
  for (const run of late) await run();
  await endsOpen({ db, database, clock }, world, settings, hasLeader);
  return { calls: world.calls, deaths };
}

interface World {
  readonly id: MergeQueueId;
  readonly random: RandomNumbers;
  readonly replicas: readonly MortalReplica[];
  readonly clients: readonly Client[];
  readonly clock: VirtualClock;
  calls: number;
  /** Builds that came again as newcomers: they must have been told that they are completed, and the answer was lost. */
  readonly toldInVain: string[];
  /** What clients were answered, for the message of a failure. */
  readonly said: string[];
}

function broken({ said }: World, what: string): Error {
  return new Error(`${what}\n${said.join('\n')}`);
}

/** One call of a client through some replica that lives; undefined: the replica died, whatever came of the call. */
async function ask(
  world: World,
  client: Client,
  verb: string,
  call: (replica: MortalReplica['replica']) => Promise<MergeAnswer | undefined>,
): Promise<MergeAnswer | undefined> {
  const { random, replicas, clock } = world;
  const living = replicas.filter(({ isDead }) => !isDead);
  const replica = living[random.between(0, living.length - 1)];
  world.calls++;
  const answer = replica === undefined ? undefined : await replica.ask(call);
  const outcome = answer === undefined ? 'no answer' : outcomeOf(answer);
  if (answer === undefined) client.nextAtMs = clock.nowMs;
  world.said.push(`${clock.nowMs} ${client.sha} (${client.priority}) ${verb}: ${outcome}`);
  return answer;
}

async function act(world: World, client: Client): Promise<void> {
  const { clock, random } = world;
  client.nextAtMs = clock.nowMs + random.between(askEveryMs / 2, askEveryMs);
  switch (client.state) {
    case 'asking':
      return askForLease(world, client);
    case 'holding':
      return hold(world, client);
    case 'releasing':
      return release(world, client);
    case 'done':
    case 'dead':
      throw new Error('nothing is to be done');
    default:
      client.state satisfies never;
  }
}

async function askForLease(world: World, client: Client): Promise<void> {
  const { id } = world;
  const { sha, ref, priority, patience } = client;
  if (patience !== null && client.asked++ >= patience) {
    client.state = 'dead';
    return;
  }
  const answer = await ask(world, client, 'acquire', ({ queues }) =>
    queues.acquire(
      id,
      {
        headSha: sha,
        headRef: ref,
        priority,
        requestId: `attempt of ${sha}`,
        holdTtlMs: null,
        fencingToken: null,
        waitMs: 0,
      },
      { receivedAtMs: systemClock.monotonicMs(), signal: new AbortController().signal },
    ),
  );
  const { registeredAtMs = world.clock.nowMs } = client;
  client.wasSilent ||= world.clock.nowMs - registeredAtMs > ttlMs;
  if (answer === undefined) {
    client.mayBeTold = true;
    return;
  }
  const { mayBeTold } = client;
  client.mayBeTold = false;
  switch (outcomeOf(answer)) {
    case 'pending':
      client.registeredAtMs = world.clock.nowMs;
      return;
    case 'completed':
      client.state = 'done';
      return;
    case 'lease_taken':
      if (client.registeredAtMs !== undefined && !client.wasSilent && mayBeTold) world.toldInVain.push(sha);
      else if (client.registeredAtMs !== undefined && !client.wasSilent)
        throw broken(world, `${sha} was registered and asked all the time, and is a newcomer`);
      client.registeredAtMs = undefined;
      return;
    case 'acquired':
      takeLease(world, client, answer);
      return;
    default:
      throw broken(world, `${sha} was answered ${outcomeOf(answer)}`);
  }
}

function takeLease(world: World, client: Client, answer: MergeAnswer): void {
  if (answer.kind !== 'request' || answer.grant === null) throw broken(world, 'a lease without a grant');
  const { fencingToken: token, acquiredAtMs, expiresAtMs } = answer.grant;
  for (const other of world.clients)
    if (other !== client && other.believesUntilMs !== undefined && other.believesUntilMs > acquiredAtMs)
      throw broken(world, `${client.sha} and ${other.sha} both believe that they hold the lease`);
  for (const other of world.clients)
    if (
      other !== client &&
      other.grant !== undefined &&
      other.grant.acquiredAtMs <= acquiredAtMs &&
      other.grant.token >= token
    )
      throw broken(world, 'a later lease has a lower token');
  client.grant = { token, acquiredAtMs, expiresAtMs };
  client.believesUntilMs = expiresAtMs;
  client.state = client.fate === 'dies' ? 'dead' : 'holding';
}

async function hold(world: World, client: Client): Promise<void> {
  const { id, clock } = world;
  const { grant, sha } = client;
  if (grant === undefined) throw new Error('nothing is held');
  if (clock.nowMs - grant.acquiredAtMs >= client.holdsForMs) {
    client.state = 'releasing';
    // From the moment it says so it no longer acts on the lease.
    client.believesUntilMs = undefined;
    return release(world, client);
  }
  const answer = await ask(world, client, 'renew', ({ queues }) =>
    queues.renew(
      id,
      { headSha: sha, fencingToken: grant.token },
      { receivedAtMs: systemClock.monotonicMs(), signal: new AbortController().signal },
    ),
  );
  if (answer === undefined) return;
  if (answer.kind !== 'request' || answer.grant === null) {
    if (isLost(world, client, answer)) return;
    throw broken(world, `${sha} renewed in time and was answered ${outcomeOf(answer)}`);
  }
  client.grant = { ...grant, expiresAtMs: answer.grant.expiresAtMs };
  client.believesUntilMs = answer.grant.expiresAtMs;
}

async function release(world: World, client: Client): Promise<void> {
  const { id } = world;
  const { grant, sha, ref, priority, fate } = client;
  if (grant === undefined || fate === 'dies') throw new Error('nothing is released');
  const answer = await ask(world, client, `release ${fate}`, ({ queues }) =>
    queues.release(
      id,
      { headSha: sha, headRef: ref, priority, outcome: fate, fencingToken: grant.token },
      { receivedAtMs: systemClock.monotonicMs(), signal: new AbortController().signal },
    ),
  );
  if (answer === undefined) return;
  // Also when an earlier attempt was carried out and its answer was lost.
  if (outcomeOf(answer) !== (fate === 'success' ? 'completed' : fate)) {
    if (isLost(world, client, answer)) return;
    throw broken(world, `${sha} released in time and was answered ${outcomeOf(answer)}`);
  }
  client.state = 'done';
}

/** Its deadline was over before it was heard again, since replicas died under it. */
function isLost({ clock }: World, client: Client, answer: MergeAnswer): boolean {
  const { grant } = client;
  if (grant === undefined || clock.nowMs < grant.expiresAtMs) return false;
  if (answer.kind !== 'refused' || answer.reason !== 'expired') return false;
  client.state = 'dead';
  client.believesUntilMs = undefined;
  return true;
}

async function tick({ db, database }: Lane, { id }: World, settings: Partial<MergeQueueSettings>): Promise<void> {
  const { rows } = await db.query(
    'select from signalbox.merge_queues where queue = $1 and due_at <= signalbox.clock()',
    [id.name],
  );
  if (rows.length === 0) return;
  const { desk } = openReplica(db, { database, settings });
  await desk.tick(id, { replicaId: 'leader:1:0' as ReplicaId, epoch: 1 as Epoch });
}

/** Somebody who comes when all is over gets the lease, and leaves nothing behind. */
async function endsOpen(
  lane: Lane,
  world: World,
  settings: Partial<MergeQueueSettings>,
  hasLeader: boolean,
): Promise<void> {
  const { db, database, clock } = lane;
  const { id } = world;
  const { queues } = openReplica(db, { database, settings });
  const last = { headSha: 'last', headRef: 'gh-readonly-queue/main/pr-99-ff', priority: 1, fencingToken: null };
  const context = () => ({ receivedAtMs: systemClock.monotonicMs(), signal: new AbortController().signal });
  const untilMs = clock.nowMs + 2.2 * ttlMs + holdTtlMs + (settings.stabilisation_ms ?? 0) + 3 * 500;
  let said = '';
  while (said !== 'acquired') {
    if (clock.nowMs > untilMs) throw broken(world, `a newcomer is still answered ${said}`);
    const answer = await queues.acquire(id, { ...last, requestId: 'last', holdTtlMs: null, waitMs: 0 }, context());
    said = answer === undefined ? 'unknown' : outcomeOf(answer);
    await clock.pass(500);
    if (hasLeader) await tick(lane, world, settings);
  }
  await queues.release(id, { ...last, outcome: 'failure' }, context());
  const left = await rowsOf(
    db,
    `select head_sha, status from signalbox.merge_requests where queue = $1 and status <> 'remembered'`,
    [id.name],
  );
  if (left.length > 0) throw broken(world, `not empty at last: ${JSON.stringify(left)}`);
  const end = await playFeed(db, id.name, { onlyContained: settings.success_completes === 'contained' });
  checkEnd(world, end);
  await checkHistory(db, world);
}

function checkEnd(world: World, { mode, registered, completed, evicted, succeeded }: FeedEnd): void {
  for (const sha of world.toldInVain)
    if (!completed.has(sha)) throw broken(world, `${sha} was a newcomer again, and completed by nobody`);
  if (mode !== 'open' || registered.length > 0)
    throw broken(world, `the feed ends ${mode} with ${registered.join(' ')}`);
  for (const { sha, state, fate, grant, patience, wasSilent } of world.clients) {
    // One that was forgotten for its silence is told all the same, without a word in the feed.
    if (state === 'done' && grant === undefined && !completed.has(sha) && !(wasSilent && evicted.has(sha)))
      throw broken(world, `${sha} was completed by nobody`);
    if (state === 'done' && grant !== undefined && (fate === 'success') !== succeeded.has(sha))
      throw broken(world, `${sha} released with ${fate} and the feed says otherwise`);
    if (evicted.has(sha) && patience === null && !wasSilent)
      throw broken(world, `${sha} was evicted though it asked all the time`);
  }
}

async function checkHistory(db: TestDatabase, world: World): Promise<void> {
  const grants = await rowsOf<{ claim_id: string; token: string; begins: string; ends: string }>(
    db,
    `select claim_id, fencing_token as token, signalbox.ms_of(acquired_at) as begins, signalbox.ms_of(ended_at) as ends
     from signalbox.history where queue = $1 and fencing_token is not null order by fencing_token`,
    [world.id.name],
  );
  for (const [index, grant] of grants.entries()) {
    const before = grants[index - 1];
    if (before !== undefined && (Number(before.ends) > Number(grant.begins) || before.token === grant.token))
      throw broken(world, `in history ${before.claim_id} and ${grant.claim_id} held at once`);
  }
  for (const { sha, grant } of world.clients)
    if (grant !== undefined && !grants.some(({ claim_id: id, token }) => id === sha && Number(token) === grant.token))
      throw broken(world, `history does not know the lease of ${sha}`);
}
