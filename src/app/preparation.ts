import { setTimeout as sleep } from 'node:timers/promises';
import type { ConfiguredMergeQueue } from '../config/merge-queue-file.ts';
import { type Settings, SettingsError } from '../config/settings.ts';
import { applyConfiguredQueues } from '../merge-queue/configured-queues.ts';
import { backoffMs } from '../runtime/backoff.ts';
import { Database } from '../store/database.ts';
import { failureKind, isRefusedLogin } from '../store/failures.ts';
import { migrate } from '../store/migrator.ts';
import { readTokens } from '../store/tokens.ts';
import type { Logger } from '../telemetry/log.ts';

export interface Preparation {
  /** The server itself, never a pooler. */
  readonly directUrl: string;
  readonly settings: Settings;
  readonly log: Logger;
  readonly configured: readonly ConfiguredMergeQueue[];
  /** Aborts the wait for the database. */
  readonly signal: AbortSignal | undefined;
}

/**
 * What must be right in the database before a replica serves: the schema, a token if strangers can reach it, the merge queues
 * of the file. A database that cannot be reached yet is waited for. Throws `SettingsError` if other machines could reach the
 * replica and no token was ever made.
 */
export async function prepareDatabase(preparation: Preparation): Promise<void> {
  const { log, signal } = preparation;
  for (let attempt = 0; ; attempt++) {
    try {
      await bringSchemaUpToDate(preparation);
      await refuseOpenDoor(preparation);
      await configureMergeQueues(preparation);
      return;
    } catch (error) {
      const passes = ['unavailable', 'contended', 'timeout'].includes(failureKind(error)) && !isRefusedLogin(error);
      if (!passes || signal?.aborted === true) throw error;
      log.warn({ reason: error instanceof Error ? error.message : String(error) }, 'no database yet; trying again');
      await sleep(backoffMs(attempt, { firstMs: 500, maxMs: 5000 }), undefined, signal === undefined ? {} : { signal });
    }
  }
}

async function bringSchemaUpToDate({ directUrl, settings, log, signal }: Preparation): Promise<void> {
  const { roleTimeouts } = settings.database;
  const report = await migrate({ connectionString: directUrl, roleTimeouts, signal });
  if (report.applied.length > 0 || report.functionsApplied) log.info({ ...report }, 'schema brought up to date');
  if (report.schemaIsNewer) log.warn('the schema is of a newer program; it is used as it is');
}

/** Without any token everybody may do everything; then only this machine may reach us, unless the operator says so. */
async function refuseOpenDoor({ directUrl, settings }: Preparation): Promise<void> {
  if (settings.isLoopback || settings.isInsecure) return;
  await using db = new Database({ url: directUrl, ...settings.database });
  const { exist } = await readTokens(db);
  if (exist) return;
  throw new SettingsError([
    `HOST: ${settings.host} can be reached from other machines, and no token was ever made. ` +
      'Make one with `signalbox token create --name <who> --scope admin`, or listen on 127.0.0.1, ' +
      'or set SIGNALBOX_INSECURE=true if something else guards the port.',
  ]);
}

async function configureMergeQueues({ directUrl, settings, log, configured }: Preparation): Promise<void> {
  if (configured.length === 0) return;
  await using db = new Database({ url: directUrl, ...settings.database });
  const changed = await applyConfiguredQueues(db, configured);
  if (changed.length > 0) log.info({ mergeQueues: changed }, 'merge queues set as the file says');
}
