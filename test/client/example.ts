// Others import from 'signalbox/client'; test/deploy/package.test.ts imports it that way.
import { campaign, SignalboxClient, withLease } from '../../src/client/index.ts';

/** The README's example, as it stands there. */
export async function example(url: string): Promise<string[]> {
  const seen: string[] = [];
  // README
  const client = new SignalboxClient({ url });

  // A place in a queue for as long as the work lasts: renewed meanwhile, then released.
  await withLease(client, { queue: 'deploy/production', ttlMs: 30_000 }, async ({ fencingToken, signal }) => {
    const { current } = await client.checkToken('deploy/production', fencingToken, 1, { signal });
    seen.push(`deploying, token is current: ${current}`);
  });

  // One leader; the term is its fencing token. `signal` aborts when it must not lead any longer.
  await using leader = await campaign(client, { queue: 'leader/mailer' });
  seen.push(`leading, still may: ${!leader.signal.aborted}`);
  // README
  return seen;
}
