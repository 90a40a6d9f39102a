import type { Database } from './database.ts';
import { type Decision, rowsPerCall } from './decisions.ts';

/** Which dead letters of a queue: at most `rowsPerCall` ids, or all that died by a time (undefined: by now). */
export type LetterChoice = { readonly claimIds: readonly string[] } | { readonly diedBy: string | undefined };

/** What one call did; `more`: there are others that had died when the first call came. */
export interface LetterPage {
  readonly decisions: readonly Decision[];
  readonly more: { readonly diedBy: string } | undefined;
}

/** Puts dead letters back at their old places, under the line's lock. Codes `redriven`, `not_found`, one row each. */
export function redrive(db: Database, queue: string, choice: LetterChoice, actor: string): Promise<LetterPage> {
  return letterCall(db, 'select * from signalbox_v1.redrive($1, $2, $3, $4, $5)', queue, choice, actor);
}

/** Drops dead letters, payload and all, under the line's lock. Codes `purged`, `not_found`, one row each. */
export function purge(db: Database, queue: string, choice: LetterChoice, actor: string): Promise<LetterPage> {
  return letterCall(db, 'select * from signalbox_v1.purge($1, $2, $3, $4, $5)', queue, choice, actor);
}

/** Who acts on a run that failed, and why. */
export interface Operator {
  readonly actor: string;
  readonly reason: string | undefined;
}

/** A delayed run may be taken now, a dead letter is redriven. Codes `retried`, `not_retryable`, `claim_not_found`. */
export function retryRun(db: Database, queue: string, claimId: string, by: Operator): Promise<readonly Decision[]> {
  return db.query<Decision>('contended', {
    sql: 'select * from signalbox_v1.retry_run($1, $2, $3, $4)',
    parameters: [queue, claimId, by.actor, by.reason ?? null],
  });
}

/** A run that blocks its line is passed over. Codes `skipped`, `not_blocking`, `claim_not_found`. */
export function skipRun(db: Database, queue: string, claimId: string, by: Operator): Promise<readonly Decision[]> {
  return db.query<Decision>('contended', {
    sql: 'select * from signalbox_v1.skip_run($1, $2, $3, $4)',
    parameters: [queue, claimId, by.actor, by.reason ?? null],
  });
}

/** What blocks the line does so no more, at most `rowsPerCall` of it. Codes `unblocked`; `next` = call again. */
export function unblock(db: Database, queue: string, by: Operator): Promise<readonly Decision[]> {
  return db.query<Decision>('contended', {
    sql: 'select * from signalbox_v1.unblock($1, $2, $3, $4)',
    parameters: [queue, by.actor, by.reason ?? null, rowsPerCall],
  });
}

async function letterCall(
  db: Database,
  sql: string,
  queue: string,
  choice: LetterChoice,
  actor: string,
): Promise<LetterPage> {
  const [claimIds, diedBy] = 'claimIds' in choice ? [choice.claimIds, null] : [null, choice.diedBy ?? null];
  const rows = await db.query<Decision>('contended', {
    sql,
    parameters: [queue, claimIds, actor, rowsPerCall, diedBy],
  });
  const next = rows.find(({ code }) => code === 'next');
  return {
    decisions: rows.filter(({ code }) => code !== 'next'),
    more: next === undefined ? undefined : { diedBy: String(next.body?.['died_by']) },
  };
}
