import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BackgroundProcess } from '../support/background-process.ts';
import { freshDatabase, type TestDatabase } from '../support/database.ts';
import { anId } from '../support/http-client.ts';
import { startTestApp, type TestApp, untilWaiting } from '../support/test-app.ts';
import { until } from '../support/until.ts';
import { endsOf, signalbox } from '../support/wrapper.ts';
import { StallMeter } from '../support/stalls.ts';

let database: TestDatabase;
let app: TestApp;

beforeAll(async () => {
  database = await freshDatabase();
  app = await startTestApp(database);
});

afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

function elect(election: string, script: string, flags: readonly string[] = []): Promise<BackgroundProcess> {
  return signalbox(['elect', '--url', app.url, '--election', election, ...flags, '--', 'sh', '-c', script]);
}

const works = 'echo "works in $SIGNALBOX_TERM"; while :; do sleep 0.05; done';

describe('signalbox elect', () => {
  it('runs the command while it leads, tells it its term, and ends with its exit code', async () => {
    const election = anId('own-end');
    const script = 'echo "$SIGNALBOX_ELECTION $SIGNALBOX_TERM $SIGNALBOX_FENCING_TOKEN $SIGNALBOX_SLOT"; exit 7';
    await using candidate = await elect(election, script);
    const [, name, term, token] = await candidate.line(/^(\S+) (\d+) (\d+) 1$/);
    expect(name).toBe(election);
    expect(term).toBe(token);
    expect(await candidate.ended).toMatchObject({ exitCode: 7 });
    expect(await endsOf(database, election)).toMatchObject([{ fencing_token: term, outcome: 'failure' }]);
  });

  it('a preferred candidate takes over when the command has ended, by one TERM; the other stands again behind it', async () => {
    const election = anId('preferred');
    // Renewals come each second of the teardown, and each says again that the place is asked for.
    const script = `trap 'echo "TERM in $SIGNALBOX_TERM"; n=$((n+1)); sleep 0.7; [ $n = 2 ] && echo twice; sleep 0.8; echo down; exit 0' TERM
      echo "works in $SIGNALBOX_TERM"; while :; do sleep 0.05; done`;
    await using usual = await elect(election, script, ['--ttl', '3s']);
    const [, first = ''] = await usual.line(/^works in (\d+)$/);
    await using preferred = await elect(election, works, ['--ttl', '3s', '--prefer', '5', '--once']);
    await usual.line(/^signalbox: asked to hand over: TERM to the command$/);
    await using stalls = new StallMeter(() => Promise.resolve());
    const down = usual.line(/^down$/).then(() => performance.now());
    const [, second = ''] = await preferred.line(/^works in (\d+)$/);
    expect(performance.now() - (await down)).toBeLessThan(1500 + 3 * stalls.worstMs);
    expect(Number(second)).toBeGreaterThan(Number(first));
    expect(usual.output).not.toContain('twice');
    expect(usual.output.match(/TERM in/g)).toHaveLength(1);
    await untilWaiting(app.client, election, 1);
    expect((await preferred.terminate()).exitCode).toBe(143);
    const [, third = ''] = await usual.line(new RegExp(`^works in (?!${first})(\\d+)$`));
    expect(Number(third)).toBeGreaterThan(Number(second));
    expect(await endsOf(database, election)).toMatchObject([
      { fencing_token: first, outcome: 'cancelled' },
      { fencing_token: second, outcome: 'cancelled' },
    ]);
    expect(await usual.terminate()).toMatchObject({ exitCode: 0 });
  });

  it('stands again when its term is ended for it; with --once that is the end, 121', async () => {
    const election = anId('broken');
    const lead = async (candidate: BackgroundProcess, after: string) => {
      const [, term = ''] = await candidate.line(new RegExp(`^works in (?!${after}$)(\\d+)$`));
      return term;
    };
    const breakIt = async () => {
      const [holder] = (await app.client.queue(election)).body.holders;
      await app.client.ask('POST', `/v1/queues/${election}/claims/${holder?.claim_id}/break`, {
        reason: 'test',
        actor: 'me',
      });
    };
    await using once = await elect(election, works, ['--once', '--ttl', '2s']);
    await lead(once, 'none');
    await breakIt();
    expect(await once.ended).toMatchObject({ exitCode: 121 });
    await using candidate = await elect(election, works, ['--ttl', '2s']);
    const first = await lead(candidate, 'none');
    await breakIt();
    expect(Number(await lead(candidate, first))).toBeGreaterThan(Number(first));
    expect(candidate.output).toContain('standing for election again');
    expect(await candidate.terminate()).toMatchObject({ exitCode: 143 });
  });

  it('a signal while waiting withdraws the candidacy, 122; without a service it is 123; nonsense is 2', async () => {
    const election = anId('waits');
    await app.client.hold(election, { ttl_ms: 60_000 });
    await using waits = await elect(election, works);
    await waits.line(/waiting for a place/);
    expect(await waits.terminate()).toMatchObject({ exitCode: 122 });
    await untilWaiting(app.client, election, 0);
    const wrong = [
      ['--election', election],
      ['--observe', election, '--', 'true'],
      ['--election', election, '--json', '--', 'true'],
      ['--election', election, '--prefer', 'much', '--', 'true'],
      [],
    ];
    const codes = wrong.map(async (args) => (await (await signalbox(['elect', ...args])).ended).exitCode);
    expect(await Promise.all(codes)).toEqual(wrong.map(() => 2));
    await using refused = await elect(election, works, ['--ttl', '24h']);
    expect(await refused.ended).toMatchObject({ exitCode: 123 });
  });
});

describe('signalbox elect --observe', () => {
  it('prints who leads and every change, as lines for people or for programs', async () => {
    const election = anId('watched');
    const look = (...flags: string[]) => signalbox(['elect', '--url', app.url, '--observe', election, ...flags]);
    await using nobody = await look('--once');
    expect(await nobody.ended).toMatchObject({ exitCode: 1 });
    expect(nobody.output).toBe(`${election}: nobody leads\n`);
    await using text = await look();
    await using json = await look('--json');
    await Promise.all([text.line(/nobody leads/), json.line(/"state":"nobody"/)]);
    const lease = await app.client.hold(election, { holder: 'ann', ttl_ms: 20_000 });
    const { fencing_token: term } = lease;
    await text.line(new RegExp(`^${election}: led by ann, term ${term}, since \\S+, (20|1\\d)(\\.\\d)?s left$`));
    const [line] = await json.line(/^.*"state":"led".*$/);
    expect(JSON.parse(line)).toMatchObject({ election, state: 'led', term, holder: 'ann', claim_id: lease.claim_id });
    await using led = await look('--once', '--json');
    expect(await led.ended).toMatchObject({ exitCode: 0 });
    await app.client.release(lease);
    await until(() => json.output.trim().split('\n').length === 3, { what: 'the end is told' });
    expect(await text.terminate()).toMatchObject({ exitCode: 0 });
    expect(await json.terminate()).toMatchObject({ exitCode: 0 });
  });
});
