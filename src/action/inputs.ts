import type { Environment } from './runner.ts';
import { ActionProblem } from './problem.ts';

/** What a release may report. */
export const outcomes = ['success', 'failure', 'cancelled'] as const;
export type Outcome = (typeof outcomes)[number];

export const postReleases = ['auto', 'always', 'never'] as const;
export type PostRelease = (typeof postReleases)[number];

export interface Inputs {
  /** Without a slash at its end. */
  readonly serviceUrl: string;
  /** Undefined: the step is to acquire. */
  readonly releaseWith: Outcome | undefined;
  /** The whole header. */
  readonly authorization: string | undefined;
  readonly githubToken: string;
  /** How the job stands; in the post step it is evaluated again. */
  readonly jobStatus: Outcome;
  readonly timeoutMs: number;
  readonly holdTtlMs: number;
  /** The lease is not renewed for longer. */
  readonly maxHoldMs: number;
  readonly postRelease: PostRelease;
  /** Undefined: the depth in the merge queue. */
  readonly priority: number | undefined;
  /** For a release in another job than the acquire. */
  readonly fencingToken: number | undefined;
}

/** All that must never be printed. Read before anything else, so that no complaint about an input can show one. */
export function secretsOf(env: Environment): string[] {
  const auth = input(env, 'auth');
  return [input(env, 'token'), auth, auth.replace(/^\S+\s+/, ''), input(env, 'github_token')].filter((it) => it !== '');
}

/** Throws with everything that is wrong, at once. */
export function readInputs(env: Environment): Inputs {
  const problems: string[] = [];
  const refuse = <T>(why: string, instead: T): T => {
    problems.push(why);
    return instead;
  };

  const oneOf = <T extends string>(name: string, allowed: readonly T[], fallback: T): T => {
    const text = input(env, name).toLowerCase();
    if (text === '') return fallback;
    const found = allowed.find((it) => it === text);
    return found ?? refuse(`${name} must be one of ${allowed.join(', ')}`, fallback);
  };
  const scaled = (name: string, unitMs: number, fallback: number, maxMs: number): number => {
    const text = input(env, name);
    const ms = text === '' ? fallback * unitMs : Math.round(Number(text) * unitMs);
    if (/^[\d.]*$/.test(text) && ms >= 1 && ms <= maxMs) return ms;
    return refuse(`${name} must be a number above 0 and at most ${maxMs / unitMs}`, fallback * unitMs);
  };
  const positiveInteger = (name: string): number | undefined => {
    const text = input(env, name);
    if (text === '') return undefined;
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= 1) return value;
    problems.push(`${name} must be a whole number of 1 or more`);
    return undefined;
  };

  const { auth, token } = { auth: input(env, 'auth'), token: input(env, 'token') };
  if (auth !== '' && token !== '') problems.push('auth and token are both given: one of them must go');
  // A step that was skipped because there was nothing to do did not do the work: as good as cancelled.
  const releaseText = input(env, 'release_with_status').toLowerCase();
  const releaseWith = outcomes.find((it) => it === (releaseText === 'skipped' ? 'cancelled' : releaseText));
  if (releaseText !== '' && releaseWith === undefined)
    problems.push(`release_with_status must be ${outcomes.join(', ')} or skipped; empty means acquire`);

  const inputs: Inputs = {
    serviceUrl: serviceUrl(env, (why) => refuse<string>(why, '')),
    releaseWith,
    authorization: token === '' ? auth || undefined : `Bearer ${token}`,
    githubToken: input(env, 'github_token'),
    jobStatus: outcomes.find((it) => it === input(env, 'job_status').toLowerCase()) ?? 'cancelled',
    timeoutMs: scaled('timeout_minutes', 60_000, 360, 7 * 24 * 3_600_000),
    holdTtlMs: scaled('hold_ttl_seconds', 1000, 120, 30 * 24 * 3_600_000),
    maxHoldMs: scaled('max_hold_minutes', 60_000, 360, 30 * 24 * 3_600_000),
    postRelease: oneOf('post_release', postReleases, 'auto'),
    priority: positiveInteger('priority'),
    fencingToken: positiveInteger('fencing_token'),
  };
  if (problems.length > 0) throw new ActionProblem(`inputs: ${problems.join('; ')}`);
  return inputs;
}

function serviceUrl(env: Environment, refuse: (why: string) => string): string {
  const [url, alias] = [input(env, 'lease_service_url'), input(env, 'endpoint')];
  if (url !== '' && alias !== '' && url !== alias) return refuse('lease_service_url and endpoint differ: give one');
  const given = url || alias;
  if (given === '') return refuse('lease_service_url is missing');
  // Not shown: some write credentials into urls.
  const parsed = URL.canParse(given) ? new URL(given) : undefined;
  if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:')
    return refuse('lease_service_url is no http or https URL');
  if (parsed.username !== '' || parsed.password !== '' || parsed.search !== '' || parsed.hash !== '')
    return refuse('lease_service_url must have no credentials, query or fragment; credentials go into token or auth');
  return parsed.href.replace(/\/+$/, '');
}

function input(env: Environment, name: string): string {
  return (env[`INPUT_${name.toUpperCase()}`] ?? '').trim();
}
