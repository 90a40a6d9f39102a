import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Inputs, Outcome } from './inputs.ts';
import type { MergeGroup } from './merge-group.ts';
import type { Environment } from './runner.ts';

/**
 * What the steps of one job know of the build's lease. It lives in RUNNER_TEMP, which the runner empties with the job, so
 * that acquire, release, both post steps and the keep-alive find it; another job knows only what it is given as inputs.
 */
export interface LeaseRecord {
  readonly requestId: string;
  readonly priority: number;
  /** `asking`: not known to hold. `ended`: released, or never to be asked for again. */
  readonly phase: 'asking' | 'acquired' | 'completed' | 'ended';
  /** A call is out whose answer is not known: while asking, the lease may be ours. */
  readonly isUnsure: boolean;
  /** Null where the service gives none (mq-lease-service). */
  readonly fencingToken: number | null;
  readonly holdTtlMs: number;
  readonly renewEveryMs: number | null;
  /** The id of the one keep-alive that renews it; null: none does. */
  readonly keeper: string | null;
  /**
   * What a release has reported that may have arrived, without an answer that says so. One that only tries again says the
   * same, or the service would take it for another. Null again once the service has refused it.
   */
  readonly reported: Outcome | null;
}

/** What the keep-alive tells the steps. */
export interface KeeperReport {
  readonly pid: number;
  readonly renewals: number;
  /** Why the lease is no longer ours; null as far as it knows. */
  readonly lost: string | null;
  readonly hasStopped: boolean;
}

export class LeaseFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** The one of this build at this service. */
  static of(env: Environment, { serviceUrl }: Pick<Inputs, 'serviceUrl'>, group: MergeGroup): LeaseFolder {
    const name = [serviceUrl, group.owner, group.repo, group.baseRef, group.headSha].join('\n');
    const key = createHash('sha256').update(name).digest('hex').slice(0, 16);
    return new LeaseFolder(join(env['RUNNER_TEMP'] ?? tmpdir(), `signalbox-merge-queue-${key}`));
  }

  readRecord(): LeaseRecord | undefined {
    return this.#read('lease.json') as LeaseRecord | undefined;
  }

  writeRecord(record: LeaseRecord): void {
    mkdirSync(this.path, { recursive: true });
    this.#write('lease.json', record);
  }

  /** Each keeper has files of its own, so that none speaks for the lease of another, or stops for it. */
  readReport(keeper: string): KeeperReport | undefined {
    return this.#read(`keep-alive-${keeper}.json`) as KeeperReport | undefined;
  }

  /** Makes no folder: one that has gone says that the job is over. */
  writeReport(keeper: string, report: KeeperReport): void {
    this.#write(`keep-alive-${keeper}.json`, report);
  }

  askToStop(keeper: string): void {
    writeFileSync(join(this.path, `stop-${keeper}`), '');
  }

  /** Also once the folder has gone. */
  isToStop(keeper: string): boolean {
    return existsSync(join(this.path, `stop-${keeper}`)) || !existsSync(join(this.path, 'lease.json'));
  }

  #read(name: string): unknown {
    try {
      return JSON.parse(readFileSync(join(this.path, name), 'utf8'));
    } catch {
      return undefined;
    }
  }

  /** By renaming, so that nobody reads half of it. */
  #write(name: string, value: unknown): void {
    const path = join(this.path, name);
    writeFileSync(`${path}.new`, JSON.stringify(value));
    renameSync(`${path}.new`, path);
  }
}
