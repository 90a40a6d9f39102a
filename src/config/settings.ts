import { isIP } from 'node:net';
import { z } from 'zod';
import type { MergeQueueSettings } from '../protocol/merge-queue.ts';

/** One setting: where it comes from, what it may be, and why its default is what it is (the README's table is checked against this). */
function wholeNumber(min: number, max: number, fallback: number) {
  return z
    .string()
    .regex(/^\d+$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be a whole number from ${min} to ${max}`)
    .default(fallback);
}

function flag(fallback: boolean) {
  return z
    .enum(['true', 'false'], 'must be true or false')
    .transform((value) => value === 'true')
    .default(fallback);
}

const postgresUrl = z.string().regex(/^postgres(ql)?:\/\/.+/, 'must be a postgres:// or postgresql:// URL');

const Environment = z.strictObject({
  DATABASE_URL: postgresUrl.optional(),
  DATABASE_DIRECT_URL: postgresUrl.optional(),
  SIGNALBOX_DATA_DIR: z.string().min(1).default('./.signalbox'),
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: wholeNumber(0, 65_535, 8080),
  SIGNALBOX_INSECURE: flag(false),
  SIGNALBOX_PUBLIC_URL: z.url('must be a URL').optional(),
  LEADER_LEASE_SECONDS: wholeNumber(1, 3600, 10),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  AUTO_CREATE_QUEUES: flag(true),
  QUEUE_IDLE_SECONDS: wholeNumber(60, 31_536_000, 3600),
  HISTORY_RETENTION_DAYS: wholeNumber(7, 3650, 8),
  DEAD_LETTER_RETENTION_DAYS: wholeNumber(1, 3650, 30),
  MERGE_QUEUE_STABILISATION_MS: wholeNumber(0, 604_800_000, 30_000),
  MERGE_QUEUE_TTL_MS: wholeNumber(1, 604_800_000, 200_000),
  MERGE_QUEUE_EXPECTED_COUNT: wholeNumber(0, 10_000, 4),
  MERGE_QUEUE_DELAY_COUNT: wholeNumber(0, 10_000, 0),
  MERGE_QUEUE_AUTO_CREATE: flag(true),
  MERGE_QUEUE_CONFIG_FILE: z.string().min(1).optional(),
  QUEUES_FILE: z.string().min(1).optional(),
  QUEUES_FILE_PRUNE: flag(false),
  DATABASE_CONNECT_TIMEOUT_MS: wholeNumber(100, 60_000, 3000),
  DATABASE_STATEMENT_TIMEOUT_MS: wholeNumber(500, 60_000, 10_000),
  DATABASE_ROLE_TIMEOUTS: flag(true),
  DATABASE_DECIDE_CONNECTIONS: wholeNumber(1, 50, 2),
  DATABASE_CONTENDED_CONNECTIONS: wholeNumber(1, 50, 4),
  DATABASE_RENEW_CONNECTIONS: wholeNumber(1, 50, 2),
  DATABASE_READ_CONNECTIONS: wholeNumber(1, 50, 4),
  BATCH_MAX: wholeNumber(1, 1000, 100),
  PENDING_MAX: wholeNumber(1, 1_000_000, 10_000),
  LINE_WAIT_MS: wholeNumber(250, 60_000, 5000),
  HTTP_BODY_BYTES_MAX: wholeNumber(1024, 1_048_576, 65_536),
  HTTP_HEADER_BYTES_MAX: wholeNumber(10_240, 131_072, 16_384),
  HTTP_REQUEST_TIMEOUT_MS: wholeNumber(1000, 600_000, 30_000),
  HTTP_KEEP_ALIVE_MS: wholeNumber(1000, 4_000_000, 75_000),
  HTTP_CONNECTIONS_MAX: wholeNumber(1, 1_000_000, 10_000),
  SHUTDOWN_DELAY_MS: wholeNumber(0, 60_000, 0),
  SHUTDOWN_GRACE_SECONDS: wholeNumber(1, 600, 10),
});

export interface Settings {
  /** undefined = the embedded server. */
  readonly databaseUrl: string | undefined;
  readonly databaseDirectUrl: string | undefined;
  readonly dataDir: string;
  readonly host: string;
  /** `host` can be reached from this machine alone. */
  readonly isLoopback: boolean;
  /** Something else guards the port: calls need no token as long as none was ever made, wherever it listens. */
  readonly isInsecure: boolean;
  readonly port: number;
  readonly publicUrl: string | undefined;
  readonly leaderLeaseMs: number;
  readonly logLevel: z.infer<typeof Environment>['LOG_LEVEL'];
  readonly autoCreateQueues: boolean;
  readonly queueIdleMs: number;
  readonly historyRetentionDays: number;
  readonly deadLetterRetentionMs: number;
  readonly mergeQueue: {
    /** What a merge queue made on first use is set to. */
    readonly defaults: MergeQueueSettings;
    readonly autoCreate: boolean;
    /** Merge queues to make or set at start, as mq-lease-service has them. */
    readonly configFile: string | undefined;
  };
  /** Queues, patterns and merge queues to keep as a file says. */
  readonly queuesFile: { readonly path: string; readonly prune: boolean } | undefined;
  readonly database: {
    readonly connectTimeoutMs: number;
    readonly statementTimeoutMs: number;
    readonly roleTimeouts: boolean;
    readonly connections: { decide: number; contended: number; renew: number; read: number };
  };
  readonly batchMax: number;
  readonly pendingMax: number;
  readonly lineWaitMs: number;
  readonly http: {
    readonly bodyBytesMax: number;
    readonly headerBytesMax: number;
    readonly requestTimeoutMs: number;
    readonly keepAliveTimeoutMs: number;
    readonly connectionsMax: number;
  };
  /** How long a stopping replica is red for balancers and serves on all the same. */
  readonly shutdownDelayMs: number;
  readonly shutdownGraceMs: number;
}

/** Every problem of the settings at once, one line each. */
export class SettingsError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the settings are not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'SettingsError';
    this.problems = problems;
  }
}

/** The names of all settings, in the order of the README's table. */
export const settingNames = Object.keys(Environment.shape);

/**
 * Reads the settings from an environment. Names of other programs are ignored; a name that begins with SIGNALBOX_ and is
 * none of ours is a typo. An empty value counts as absent. Throws `SettingsError` with all problems.
 */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const ours = Object.fromEntries(
    Object.entries(environment).filter(
      ([name, value]) => value !== undefined && value !== '' && (settingNames.includes(name) || isMisspelt(name)),
    ),
  );
  const { data, error } = Environment.safeParse(ours);
  const problems = (error?.issues ?? []).flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => `${key}: there is no such setting`)
      : [`${issue.path.join('.')}: ${issue.message}`],
  );
  if (data === undefined) throw new SettingsError(problems);
  if (data.DATABASE_DIRECT_URL !== undefined && data.DATABASE_URL === undefined) {
    problems.push('DATABASE_DIRECT_URL: set DATABASE_URL too; without it an embedded database is used');
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return Object.freeze<Settings>({
    databaseUrl: data.DATABASE_URL,
    databaseDirectUrl: data.DATABASE_DIRECT_URL ?? data.DATABASE_URL,
    dataDir: data.SIGNALBOX_DATA_DIR,
    host: data.HOST,
    isLoopback: isLoopback(data.HOST),
    isInsecure: data.SIGNALBOX_INSECURE,
    port: data.PORT,
    publicUrl: data.SIGNALBOX_PUBLIC_URL,
    leaderLeaseMs: data.LEADER_LEASE_SECONDS * 1000,
    logLevel: data.LOG_LEVEL,
    autoCreateQueues: data.AUTO_CREATE_QUEUES,
    queueIdleMs: data.QUEUE_IDLE_SECONDS * 1000,
    historyRetentionDays: data.HISTORY_RETENTION_DAYS,
    deadLetterRetentionMs: data.DEAD_LETTER_RETENTION_DAYS * 86_400_000,
    mergeQueue: {
      defaults: {
        stabilisation_ms: data.MERGE_QUEUE_STABILISATION_MS,
        ttl_ms: data.MERGE_QUEUE_TTL_MS,
        expected_count: data.MERGE_QUEUE_EXPECTED_COUNT,
        delay_count: data.MERGE_QUEUE_DELAY_COUNT,
        hold_ttl_ms: null,
        success_completes: 'all',
        require_token: false,
        refused_acquire_updates: true,
      },
      autoCreate: data.MERGE_QUEUE_AUTO_CREATE,
      configFile: data.MERGE_QUEUE_CONFIG_FILE,
    },
    queuesFile: data.QUEUES_FILE === undefined ? undefined : { path: data.QUEUES_FILE, prune: data.QUEUES_FILE_PRUNE },
    database: {
      connectTimeoutMs: data.DATABASE_CONNECT_TIMEOUT_MS,
      statementTimeoutMs: data.DATABASE_STATEMENT_TIMEOUT_MS,
      roleTimeouts: data.DATABASE_ROLE_TIMEOUTS,
      connections: {
        decide: data.DATABASE_DECIDE_CONNECTIONS,
        contended: data.DATABASE_CONTENDED_CONNECTIONS,
        renew: data.DATABASE_RENEW_CONNECTIONS,
        read: data.DATABASE_READ_CONNECTIONS,
      },
    },
    batchMax: data.BATCH_MAX,
    pendingMax: data.PENDING_MAX,
    lineWaitMs: data.LINE_WAIT_MS,
    http: {
      bodyBytesMax: data.HTTP_BODY_BYTES_MAX,
      headerBytesMax: data.HTTP_HEADER_BYTES_MAX,
      requestTimeoutMs: data.HTTP_REQUEST_TIMEOUT_MS,
      keepAliveTimeoutMs: data.HTTP_KEEP_ALIVE_MS,
      connectionsMax: data.HTTP_CONNECTIONS_MAX,
    },
    shutdownDelayMs: data.SHUTDOWN_DELAY_MS,
    shutdownGraceMs: data.SHUTDOWN_GRACE_SECONDS * 1000,
  });
}

/** Variables with our prefix that are no settings of a replica. */
const foreign = new Set([
  'SIGNALBOX_TEST_DOCKER',
  // What `signalbox run` reads and gives to its command, which may be a program of ours.
  'SIGNALBOX_URL',
  'SIGNALBOX_TOKEN',
  'SIGNALBOX_QUEUE',
  'SIGNALBOX_CLAIM_ID',
  'SIGNALBOX_FENCING_TOKEN',
  'SIGNALBOX_SLOT',
  'SIGNALBOX_HOLDER',
]);

function isMisspelt(name: string): boolean {
  return name.startsWith('SIGNALBOX_') && !foreign.has(name);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
