import { type Connection, onQueue, rowsOf } from './sql-verbs.ts';

/**
 * Ends the oldest grant and lets the line move, again and again; the claims that got a place by it, in order. A wide line
 * of `slots` moves as a narrow one does.
 */
export async function serve(on: Connection, name: string, count = Number.POSITIVE_INFINITY): Promise<string[]> {
  const served: string[] = [];
  const queue = onQueue(on, name);
  while (served.length < count) {
    const [first] = await rowsOf<{ claim_id: string; fencing_token: string }>(
      on,
      `select claim_id, fencing_token from signalbox.leases where queue = $1 and state = 'held'
       order by fencing_token limit 1`,
      [name],
    );
    if (first === undefined) break;
    const before = await queue.held();
    await queue.release(first.claim_id, Number(first.fencing_token));
    const granted = (await queue.held()).filter((id) => !before.includes(id));
    served.push(...granted);
  }
  return served;
}

/** Takes runs one by one, each released at once, in order. */
export async function work(on: Connection, name: string, count = Number.POSITIVE_INFINITY): Promise<string[]> {
  const worked: string[] = [];
  while (worked.length < count) {
    const { claims } = await onQueue(on, name).take(1);
    const [run] = claims;
    if (run === undefined) break;
    worked.push(run.claim_id ?? '');
    await onQueue(on, name).release(run.claim_id ?? '', run.body.fencing_token);
  }
  return worked;
}
