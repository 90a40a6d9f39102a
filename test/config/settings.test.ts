import { describe, expect, it } from 'vitest';
import { readSettings, SettingsError } from '../../src/config/settings.ts';

function problemsOf(environment: Record<string, string | undefined>): readonly string[] {
  try {
    readSettings(environment);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('settings of an empty environment', () => {
  it('are the documented defaults', () => {
    expect(readSettings({})).toMatchObject({
      databaseUrl: undefined,
      databaseDirectUrl: undefined,
      dataDir: './.signalbox',
      host: '127.0.0.1',
      port: 8080,
      leaderLeaseMs: 10_000,
      logLevel: 'info',
      autoCreateQueues: true,
      mergeQueue: {
        defaults: { stabilisation_ms: 30_000, ttl_ms: 200_000, expected_count: 4, delay_count: 0, hold_ttl_ms: null },
        autoCreate: true,
      },
    });
  });

  it('of merge queues are what one that nobody configured is set to', () => {
    const { mergeQueue } = readSettings({
      MERGE_QUEUE_STABILISATION_MS: '0',
      MERGE_QUEUE_TTL_MS: '1',
      MERGE_QUEUE_EXPECTED_COUNT: '7',
      MERGE_QUEUE_DELAY_COUNT: '2',
      MERGE_QUEUE_AUTO_CREATE: 'false',
    });
    expect(mergeQueue).toMatchObject({
      defaults: { stabilisation_ms: 0, ttl_ms: 1, expected_count: 7, delay_count: 2 },
      autoCreate: false,
    });
  });

  it('an empty value counts as absent, names of other programs are ignored', () => {
    expect(readSettings({ PORT: '', HOST: undefined, PATH: '/bin', DATABASE_NAME: 'x', LANG: 'C' })).toEqual(
      readSettings({}),
    );
  });

  it('cannot be changed', () => {
    const settings = readSettings({});
    expect(Object.isFrozen(settings)).toBe(true);
    expect(() => Object.assign(settings, { port: 1 })).toThrow(TypeError);
  });
});

describe('a value that does not fit is refused by name', () => {
  it.each([
    ...['0', '-5', 'abc', '1.5', '3601', '1e1', ' 10', '0x10', '10s'].map((value) => ['LEADER_LEASE_SECONDS', value]),
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['SIGNALBOX_INSECURE', 'yes'],
    ['AUTO_CREATE_QUEUES', '1'],
    ['DATABASE_ROLE_TIMEOUTS', 'TRUE'],
    ['LOG_LEVEL', 'verbose'],
    ['DATABASE_URL', 'mysql://127.0.0.1/x'],
    ['DATABASE_URL', 'localhost:5432'],
    ['SIGNALBOX_PUBLIC_URL', 'not a url'],
    ['QUEUE_IDLE_SECONDS', '59'],
    ['MERGE_QUEUE_STABILISATION_MS', '-1'],
    ['MERGE_QUEUE_TTL_MS', '0'],
    ['MERGE_QUEUE_TTL_MS', '604800001'],
    ['MERGE_QUEUE_EXPECTED_COUNT', '10001'],
    ['MERGE_QUEUE_DELAY_COUNT', '1.5'],
    ['MERGE_QUEUE_AUTO_CREATE', 'yes'],
    ['HISTORY_RETENTION_DAYS', '6'],
    ['DATABASE_CONNECT_TIMEOUT_MS', '99'],
    ['DATABASE_STATEMENT_TIMEOUT_MS', '60001'],
    ['DATABASE_DECIDE_CONNECTIONS', '0'],
    ['DATABASE_CONTENDED_CONNECTIONS', '51'],
    ['DATABASE_RENEW_CONNECTIONS', '0'],
    ['DATABASE_READ_CONNECTIONS', '0'],
    ['BATCH_MAX', '1001'],
    ['PENDING_MAX', '0'],
    ['LINE_WAIT_MS', '249'],
    ['HTTP_BODY_BYTES_MAX', '1048577'],
    ['HTTP_CONNECTIONS_MAX', '0'],
    ['SHUTDOWN_GRACE_SECONDS', '0'],
  ])('%s=%s', (name, value) => {
    const problems = problemsOf({ [name]: value });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name}: must be |^${name}: Invalid option`));
  });

  it('the range is told', () => {
    expect(problemsOf({ LEADER_LEASE_SECONDS: '0' })).toEqual([
      'LEADER_LEASE_SECONDS: must be a whole number from 1 to 3600',
    ]);
  });
});

describe('a name', () => {
  it.each(['SIGNALBOX_DATADIR', 'SIGNALBOX_', 'SIGNALBOX_PORT'])(
    '%s is of ours and known to nobody: refused',
    (name) => {
      expect(problemsOf({ [name]: 'x' })).toEqual([`${name}: there is no such setting`]);
    },
  );

  it('of ours alone is given: a direct url without a url is refused', () => {
    expect(problemsOf({ DATABASE_DIRECT_URL: 'postgres://127.0.0.1/x' })).toHaveLength(1);
    expect(readSettings({ DATABASE_URL: 'postgres://127.0.0.1/x' }).databaseDirectUrl).toBe('postgres://127.0.0.1/x');
  });
});

describe('all problems', () => {
  it('are shown at once, one line each', () => {
    const environment = { PORT: 'x', LEADER_LEASE_SECONDS: '-5', LOG_LEVEL: 'loud', SIGNALBOX_TYPO: '1' };
    expect(
      problemsOf(environment)
        .map((problem) => problem.split(':')[0])
        .sort(),
    ).toEqual(Object.keys(environment).sort());
    expect(() => readSettings(environment)).toThrow(/PORT[^]*LEADER_LEASE_SECONDS|LEADER_LEASE_SECONDS[^]*PORT/);
  });
});

describe('HOST', () => {
  it.each(['127.0.0.1', '127.9.9.9', '::1', 'localhost'])('%s is loopback', (host) => {
    expect(readSettings({ HOST: host }).host).toBe(host);
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', 'signalbox.example', '127.0.0.1.example'])(
    '%s is taken with SIGNALBOX_INSECURE=true',
    (host) => {
      expect(readSettings({ HOST: host, SIGNALBOX_INSECURE: 'true' }).host).toBe(host);
    },
  );
});
