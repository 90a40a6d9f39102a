import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ConfiguredMergeQueue, readMergeQueueFile } from '../../src/config/merge-queue-file.ts';
import { readSettings, SettingsError } from '../../src/config/settings.ts';

const { defaults } = readSettings({}).mergeQueue;
let folder: string;
let path: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signalbox-merge-queue-file-'));
  path = join(folder, 'config.yaml');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function read(
  content: string,
  environment: Record<string, string> = {},
): Promise<readonly ConfiguredMergeQueue[]> {
  await writeFile(path, content);
  return readMergeQueueFile(path, { environment, defaults });
}

/** The problems, without the name of the setting and the path that each begins with. */
async function problemsOf(content: string, environment: Record<string, string> = {}): Promise<readonly string[]> {
  try {
    await read(content, environment);
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    const place = `MERGE_QUEUE_CONFIG_FILE: ${path}, `;
    expect(error.problems.filter((problem) => !problem.startsWith(place))).toEqual([]);
    return error.problems.map((problem) => problem.slice(place.length));
  }
  return [];
}

/** The original's own end-to-end configuration. */
const placeholders = `
repositories:
  - owner: \${REPO_OWNER}
    name: \${REPO_NAME}
    base_ref: \${BASE_REF}
    stabilize_duration_seconds: \${STABILIZE_DURATION_SECONDS}
    expected_request_count: \${EXPECTED_REQUEST_COUNT}
    ttl_seconds: \${TTL_SECONDS}
`;
const environment = {
  REPO_OWNER: 'e2e',
  REPO_NAME: 'e2e-repo',
  BASE_REF: 'main',
  STABILIZE_DURATION_SECONDS: '30',
  EXPECTED_REQUEST_COUNT: '4',
  TTL_SECONDS: '200',
};

describe('a configuration file of mq-lease-service', () => {
  it('with two repositories is loaded with what it says (U22)', async () => {
    const queues = await read(`repositories:
  - owner: test
    name: repo0
    base_ref: main
    stabilize_duration_seconds: 300
    expected_request_count: 5
    ttl_seconds: 20
    delay_lease_assignment_by: 2
  - owner: test
    name: repo1
    base_ref: develop
    stabilize_duration_seconds: 100
    expected_request_count: 3
    ttl_seconds: 30`);
    expect(queues.map(({ id }) => id.name)).toEqual(['merge-queue/test/repo0/main', 'merge-queue/test/repo1/develop']);
    expect(queues.map(({ settings }) => settings)).toEqual([
      { ...defaults, stabilisation_ms: 300_000, expected_count: 5, ttl_ms: 20_000, delay_count: 2 },
      { ...defaults, stabilisation_ms: 100_000, expected_count: 3, ttl_ms: 30_000 },
    ]);
  });

  it('with placeholders has the values of the environment, and overrides win (E26)', async () => {
    expect(await read(placeholders, environment)).toEqual([
      {
        id: { owner: 'e2e', repo: 'e2e-repo', baseRef: 'main', name: 'merge-queue/e2e/e2e-repo/main' },
        settings: { ...defaults, stabilisation_ms: 30_000, expected_count: 4, ttl_ms: 200_000 },
      },
    ]);
    const overrides = { REPO_NAME: 'another-repo', BASE_REF: 'develop', STABILIZE_DURATION_SECONDS: '3' };
    expect(await read(placeholders, { ...environment, ...overrides })).toEqual([
      {
        id: { owner: 'e2e', repo: 'another-repo', baseRef: 'develop', name: 'merge-queue/e2e/another-repo/develop' },
        settings: { ...defaults, stabilisation_ms: 3000, expected_count: 4, ttl_ms: 200_000 },
      },
    ]);
  });

  it('may have our own keys, and the defaults are for what it does not say', async () => {
    const [all, none] = await read(`
repositories:
  - owner: a
    name: b
    base_ref: release/1.10
    hold_ttl_seconds: 3600
    success_completes: contained
    require_token: true
    refused_acquire_updates: false
  - { owner: a, name: b, base_ref: 1.10 }
`);
    expect(all?.settings).toEqual({
      ...defaults,
      hold_ttl_ms: 3_600_000,
      success_completes: 'contained',
      require_token: true,
      refused_acquire_updates: false,
    });
    expect(all?.id.baseRef).toBe('release/1.10');
    expect(none).toEqual({ id: expect.objectContaining({ baseRef: '1.10' }) as unknown, settings: defaults });
  });

  it('may merge one entry into another and have no entries at all', async () => {
    const queues = await read(`
repositories:
  - &first
    owner: a
    name: b
    base_ref: main
    ttl_seconds: 77
  - <<: *first
    base_ref: next
`);
    expect(queues.map(({ id, settings }) => [id.baseRef, settings.ttl_ms])).toEqual([
      ['main', 77_000],
      ['next', 77_000],
    ]);
    expect(await read('repositories: []')).toEqual([]);
  });
});

describe('a variable', () => {
  const one = (owner: string) => `repositories: [{ owner: "${owner}", name: b, base_ref: main }]`;

  it.each([
    ['${X:-d}', {}, 'd'],
    ['${X:-d}', { X: '' }, 'd'],
    ['${X:-d}', { X: 'v' }, 'v'],
    ['${X-d}', {}, 'd'],
    ['${X:=d}', { X: '' }, 'd'],
    ['a${X}-${Y:-z}', { X: 'v' }, 'av-z'],
    ['$X', { X: 'v' }, undefined],
  ] as const)('written as %s, the environment being %j, is %s', async (owner, values, expected) => {
    if (expected === undefined) expect(await problemsOf(one(owner), values)).toHaveLength(1);
    else expect((await read(one(owner), values))[0]?.id.owner).toBe(expected);
  });

  it('without value and default is refused by name, once and with its line; in a comment it is of no consequence', async () => {
    expect(
      await problemsOf(`# for \${NOBODY} and \${SUBST^^}\n${placeholders}`, { ...environment, TTL_SECONDS: '' }),
    ).toEqual(['line 9: the variable TTL_SECONDS is not set or empty; ${TTL_SECONDS:-default} gives it a default']);
    expect(await problemsOf(placeholders, {})).toHaveLength(6);
  });

  it('in a form that is not known is refused', async () => {
    expect(await problemsOf(one('${X^^}'), { X: 'v' })).toEqual([
      'line 1: ${X^^} cannot be filled in: only ${VAR} and ${VAR:-default} are known',
    ]);
  });
});

describe('what is wrong', () => {
  it('is told all at once, each with its line', async () => {
    expect(
      await problemsOf(`
repositories:
  - owner: a
    name: b
    base_ref: main
    ttl_seconds: 0
    ttl: 200
  - owner: a
    name: b
    expected_request_count: 1.5
    stabilize_duration_seconds: 30s
  - owner: a b
    name: c
    base_ref: main
    require_token: yes
    success_completes: some
repository: []
`),
    ).toEqual([
      'line 6: ttl_seconds must be a whole number from 1 to 604800',
      'line 7: ttl: there is no such key',
      'line 8: base_ref is missing',
      'line 10: expected_request_count must be a whole number from 0 to 10000',
      'line 11: stabilize_duration_seconds must be a whole number from 0 to 604800',
      expect.stringMatching(/^line 12: owner, name and base_ref may have the characters/),
      'line 15: require_token must be true or false',
      'line 16: success_completes must be all or contained',
      'line 17: repository: there is no such key',
    ]);
  });

  it('with names: characters that no merge queue has, and one that is there twice', async () => {
    expect(
      await problemsOf(`
repositories:
  - { owner: a, name: b, base_ref: main }
  - { owner: a b, name: c, base_ref: main }
  - { owner: a, name: b/c, base_ref: main }
  - { owner: A, name: b, base_ref: main }
  - { owner: a, name: b, base_ref: main, ttl_seconds: 3 }
`),
    ).toEqual([
      expect.stringMatching(/^line 4: owner, name and base_ref may have the characters/) as string,
      expect.stringMatching(/^line 5: owner, name and base_ref may have the characters/) as string,
      'line 7: a/b main is there already, in line 3',
    ]);
  });

  it('with users: their passwords are not taken, and the way to tokens is shown', async () => {
    const problems = await problemsOf(`
auth:
  basic:
    users:
      ci: \${PASSWORD:-secret-of-ci}
repositories: []
`);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^line 2: auth has users with passwords: they are not taken.*signalbox token create/);
    expect(problems[0]).not.toContain('secret-of-ci');
  });

  it.each([
    ['', 'line 1: repositories is missing'],
    ['[]', 'line 1: the file must be a map that has `repositories`'],
    ['repositories: no', 'line 1: repositories must be a list'],
    ['repositories:\n  - a', 'line 2: repositories must have maps of owner, name and base_ref as entries'],
    ['repositories: [{ owner: [a], name: b, base_ref: c }]', 'line 1: owner must be one value, not a list or a map'],
  ])('with the form: %j', async (content, problem) => {
    expect(await problemsOf(content)).toEqual([problem]);
  });

  it('with the YAML: its line, and nothing of what the file holds', async () => {
    const problems = await problemsOf('repositories: []\nauth: {users: [secret}\n');
    expect(problems[0]).toMatch(/^line 2: is no YAML: /);
    expect(problems.join('\n')).not.toContain('secret');
    expect(await problemsOf('repositories: []\nrepositories: []\n')).toEqual([
      'line 2: is no YAML: Map keys must be unique',
    ]);
    expect((await problemsOf('repositories: *nowhere'))[0]).toContain('nowhere');
  });

  it('with keys that are no words, and with aliases without end', async () => {
    expect(await problemsOf('repositories: []\n? [a]\n: b\n')).toEqual(['line 2: a key must be one word']);
    const tenfold = (name: string, of: string) => `${name}: &${name} [${Array(10).fill(`*${of}`).join(', ')}]\n`;
    const bomb = `a: &a [x]\n${tenfold('b', 'a')}${tenfold('c', 'b')}${tenfold('d', 'c')}${tenfold('e', 'd')}`;
    expect((await problemsOf(bomb))[0]).toContain('Excessive alias count');
  });

  it('with the path', () => {
    const missing = join(folder, 'nothing.yaml');
    expect(() => readMergeQueueFile(missing, { environment: {}, defaults })).toThrow(
      `MERGE_QUEUE_CONFIG_FILE: ${missing}: cannot be read: ENOENT`,
    );
  });
});
