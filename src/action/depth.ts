import { backoffMs, jittered } from '../runtime/backoff.ts';
import { type HttpOutcome, httpCall } from './http-call.ts';
import type { MergeGroup } from './merge-group.ts';
import { ActionProblem } from './problem.ts';
import type { Runner } from './runner.ts';
import { type TimeLimit, inWords, pause, toldMs } from './time-limit.ts';

export interface DepthOptions {
  /** GITHUB_API_URL. */
  readonly apiUrl: string;
  readonly githubToken: string;
  readonly limit: TimeLimit;
  readonly runner: Runner;
}

/**
 * How deep in the merge queue a build is: the number of commits it would put on the base branch. The event's base_sha would
 * not do: of a stacked entry it is the head of the entry before, so the count would be the size of one entry and not grow
 * with the stack. At least 1. Repeats what may pass; throws what will not, and when the time is over.
 */
export async function depthInQueue(group: MergeGroup, options: DepthOptions): Promise<number> {
  const { apiUrl, githubToken, limit, runner } = options;
  const [owner, repo, base, head] = [group.owner, group.repo, group.baseRef, group.headSha].map(encodeURIComponent);
  const url = `${apiUrl.replace(/\/+$/, '')}/repos/${owner}/${repo}/compare/${base}...${head}`;
  for (let attempt = 0; ; attempt++) {
    const outcome = await httpCall({
      method: 'GET',
      url,
      headers: {
        accept: 'application/vnd.github+json',
        'x-github-api-version': '2022-11-28',
        ...(githubToken === '' ? {} : { authorization: `Bearer ${githubToken}` }),
      },
      timeoutMs: 30_000,
      signal: limit.signal,
    });
    const aheadBy = outcome.kind === 'answered' && outcome.status === 200 ? outcome.json?.['ahead_by'] : undefined;
    if (typeof aheadBy === 'number' && Number.isSafeInteger(aheadBy)) return Math.max(1, aheadBy);
    const trouble = troubleOf(outcome);
    if (!trouble.mayPass)
      throw new ActionProblem(
        `GitHub does not compare ${group.baseRef} with ${group.headSha}: ${trouble.why}. ` +
          `The job needs "permissions: contents: read"; or set the input priority.`,
      );
    const waitMs = trouble.waitMs ?? backoffMs(attempt, { firstMs: 1000, maxMs: 30_000 });
    runner.info(`GitHub's compare failed (${trouble.why}); again in ${inWords(waitMs)}`);
    await pause(waitMs, limit.signal);
  }
}

interface Trouble {
  readonly why: string;
  readonly mayPass: boolean;
  readonly waitMs?: number;
}

function troubleOf(outcome: HttpOutcome): Trouble {
  if (outcome.kind === 'failed') return { why: outcome.why, mayPass: true };
  const { status, json, headers, retryAfterMs } = outcome;
  const said = typeof json?.['message'] === 'string' ? `${status} ${json['message'].slice(0, 500)}` : `${status}`;
  if (status === 429 || (status === 403 && isRateLimit(outcome))) {
    // A little later than told, so that the builds that were told the same do not all come at once.
    const afterMs = retryAfterMs ?? resetMs(headers) ?? 60_000;
    return { why: `${said}, rate limit`, mayPass: true, waitMs: jittered(afterMs + 1000) + 0.1 * afterMs };
  }
  // A 200 without ahead_by is no answer of GitHub's either.
  return { why: said, mayPass: status >= 500 || status === 200 || status === 408 };
}

function isRateLimit({ headers, json, retryAfterMs }: Extract<HttpOutcome, { kind: 'answered' }>): boolean {
  const said = json?.['message'];
  return (
    retryAfterMs !== undefined ||
    headers.get('x-ratelimit-remaining') === '0' ||
    (typeof said === 'string' && /rate limit/i.test(said))
  );
}

/** x-ratelimit-reset is in epoch seconds of GitHub's clock, and so is its Date. */
function resetMs(headers: Headers): number | undefined {
  if (headers.get('x-ratelimit-remaining') !== '0') return undefined;
  const reset = headers.get('x-ratelimit-reset') ?? '';
  if (!/^\d+$/.test(reset)) return undefined;
  return toldMs(Math.max(0, Number(reset) * 1000 - Date.parse(headers.get('date') ?? '')));
}
