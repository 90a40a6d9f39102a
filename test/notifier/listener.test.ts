import { describe, expect, it } from 'vitest';
import { Listener } from '../../src/notifier/listener.ts';
import { encodeMoved, type Message } from '../../src/notifier/messages.ts';
import type { ReplicaId } from '../../src/protocol/ids.ts';
import { Database } from '../../src/store/database.ts';
import { listen, notify } from '../../src/store/notifications.ts';
import { emptyDatabase, type TestDatabase } from '../support/database.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const self = 'self:1:0' as ReplicaId;

/** A started listener on a database, and what it told. */
async function listenerOn(database: TestDatabase, directUrl = database.directUrl, timeoutMs = 2000) {
  const resources = new AsyncDisposableStack();
  const db = new Database({ url: database.url, connectTimeoutMs: 2000, statementTimeoutMs: 2000 });
  resources.defer(() => db.stop());
  const messages: Message[] = [];
  const states: { works: boolean; error?: unknown }[] = [];
  const listener = resources.use(
    new Listener({
      db,
      directUrl,
      replicaId: self,
      timeoutMs,
      onMessage: (message) => messages.push(message),
      onState: (state) => states.push(state),
    }),
  );
  await listener.start();
  return {
    listener,
    messages,
    states,
    say: (from: string, claimId: string) =>
      notify(db, encodeMoved(from as ReplicaId, [{ queue: 'q', claim_id: claimId }])),
    works: () => until(() => listener.works, { what: 'the listener works' }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const backends = async (database: TestDatabase) =>
  (
    await database.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and application_name = 'signalbox listen'`,
    )
  ).rows.map(({ pid }) => pid);

describe('a listener on a direct connection', () => {
  it('passes its own test, then hears others and not itself', async () => {
    await using database = await emptyDatabase();
    await using listening = await listenerOn(database);
    await listening.works();
    expect(listening.states).toEqual([{ works: true, error: undefined }]);
    await listening.say(self, 'mine');
    await listening.say('other:1:0', 'theirs');
    await until(() => listening.messages.length > 0, { what: 'the message arrives' });
    expect(listening.messages).toEqual([{ from: 'other:1:0', moved: [['q', 'theirs']] }]);
  });

  it('passes over what is no message', async () => {
    await using database = await emptyDatabase();
    await using listening = await listenerOn(database);
    await listening.works();
    await database.query(`select pg_notify('signalbox', 'not json'), pg_notify('signalbox', '{"from":"x"}')`);
    await listening.say('other:1:0', 'after');
    await until(() => listening.messages.length > 0, { what: 'the message arrives' });
    expect(listening.messages).toHaveLength(1);
  });

  it('whose backend is terminated says so, connects again and works', async () => {
    await using database = await emptyDatabase();
    await using listening = await listenerOn(database);
    await listening.works();
    const [pid] = await backends(database);
    await database.query('select pg_terminate_backend($1)', [pid]);
    await until(() => listening.states.some(({ works }) => !works), { what: 'the loss is told' });
    await listening.works();
    expect(listening.states.map(({ works }) => works)).toEqual([true, false, true]);
    expect(await backends(database)).not.toContain(pid);
    await listening.say('other:1:0', 'again');
    await until(() => listening.messages.length > 0, { what: 'the message arrives' });
  });

  it('stopped, it lets its connection go and may be started again', async () => {
    await using database = await emptyDatabase();
    await using listening = await listenerOn(database);
    await listening.works();
    await listening.listener.stop();
    await listening.listener.stop();
    await until(async () => (await backends(database)).length === 0, { what: 'the connection is closed' });
    await listening.listener.start();
    await listening.works();
    expect(await backends(database)).toHaveLength(1);
  });
});

describe('a listener that hears nothing', () => {
  it('through a pooler that passes no notifications on, fails its test and names the setting', async () => {
    await using database = await emptyDatabase();
    await using elsewhere = await emptyDatabase();
    // As with a transaction pooler, LISTEN is accepted and nothing ever arrives.
    await using listening = await listenerOn(database, elsewhere.directUrl, 300);
    await until(() => listening.states.length > 0, { what: 'the failure is told' });
    expect(listening.listener.works).toBe(false);
    expect(String(listening.states[0]?.error)).toContain('DATABASE_DIRECT_URL');
    // It tries again, later, and says no more about what it has said.
    const probes: string[] = [];
    await using overheard = await listen(database.directUrl, (payload) => probes.push(payload), {
      connectTimeoutMs: 2000,
    });
    await until(() => probes.length > 1, { what: 'two more tries' });
    expect(listening.states.length).toBe(1);
    await overheard.probe();
  });

  it('because the network swallows everything, gives up after its timeout', async () => {
    await using database = await emptyDatabase();
    await using proxy = await TcpProxy.to(database.directUrl);
    proxy.freeze();
    await using listening = await listenerOn(database, proxy.through(database.directUrl), 300);
    await until(() => listening.states.length > 0, { what: 'the failure is told' });
    expect(listening.states[0]?.works).toBe(false);
    proxy.thaw();
    await listening.works();
  });

  it('because nobody is there, may still be stopped at once', async () => {
    await using database = await emptyDatabase();
    await using listening = await listenerOn(database, 'postgres://127.0.0.1:1/nowhere', 300);
    await until(() => listening.states.length > 0, { what: 'the failure is told' });
    await listening.listener.stop();
    expect(listening.listener.works).toBe(false);
  });
});
