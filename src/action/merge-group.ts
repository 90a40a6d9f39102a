import { readFileSync } from 'node:fs';
import { ActionProblem } from './problem.ts';
import type { Environment } from './runner.ts';

/** The build of the merge queue this job belongs to, from the event that started it. */
export interface MergeGroup {
  readonly owner: string;
  readonly repo: string;
  /** Both without refs/heads/. */
  readonly baseRef: string;
  readonly headRef: string;
  readonly headSha: string;
}

export function readMergeGroup(env: Environment): MergeGroup {
  const event = readEvent(env['GITHUB_EVENT_PATH']);
  const group = field(event, 'merge_group');
  if (group === undefined) {
    const name = env['GITHUB_EVENT_NAME'] ?? 'unknown';
    throw new ActionProblem(
      `the event ${name} has no merge_group: this action works in workflows started by merge_group only (on: merge_group)`,
    );
  }
  const [owner = '', repo = ''] = (env['GITHUB_REPOSITORY'] ?? '').split('/');
  const baseRef = branch(field(group, 'base_ref'));
  const headRef = branch(field(group, 'head_ref'));
  const headSha = field(group, 'head_sha');
  if (owner === '' || repo === '') throw new ActionProblem('GITHUB_REPOSITORY is not set as the runner sets it');
  if (baseRef === '' || headRef === '' || typeof headSha !== 'string' || headSha === '')
    throw new ActionProblem('the merge_group of the event lacks base_ref, head_ref or head_sha');
  return { owner, repo, baseRef, headRef, headSha };
}

function readEvent(path: string | undefined): unknown {
  try {
    return JSON.parse(readFileSync(path ?? '', 'utf8'));
  } catch (error) {
    throw new ActionProblem('the event of this run cannot be read (GITHUB_EVENT_PATH)', { cause: error });
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function branch(ref: unknown): string {
  return typeof ref === 'string' ? ref.replace(/^refs\/heads\//, '') : '';
}
