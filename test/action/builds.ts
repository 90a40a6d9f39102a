import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GithubApi } from '../support/actions-runner/github-api.ts';
import { type JobOptions, JobRun } from '../support/actions-runner/job-run.ts';
import type { Job } from '../support/actions-runner/workflow.ts';
import { anId } from '../support/http-client.ts';
import { exampleWorkflow } from './example-workflow.ts';

type InputValues = Readonly<Record<string, string>>;

export interface BuildOptions {
  /** How many commits it is ahead of the base branch. */
  readonly depth?: number;
  readonly job?: Job;
  /** Over those of the workflow. */
  readonly acquire?: InputValues;
  readonly release?: InputValues;
  readonly url?: string;
  readonly token?: string;
}

/** One build of the merge queue, and what it does on staging. */
export interface Build {
  readonly run: JobRun;
  readonly headSha: string;
  /** Ends the work on staging. */
  finish(exitCode: 0 | 1): void;
}

/** Builds of the merge queue of one repository of their own, as GitHub would start them. */
export class Builds implements AsyncDisposable {
  readonly api: GithubApi;
  readonly repository = `acme/${anId('shop').replaceAll(':', '-')}`;
  readonly githubToken = `ghs_${anId('token')}`;
  readonly #url: string;
  readonly #token: string;
  readonly #baseRef: string;
  readonly #runs: JobRun[] = [];
  readonly #folders: string[] = [];
  #pullRequest = 0;

  private constructor(api: GithubApi, { url, token, baseRef }: { url: string; token: string; baseRef: string }) {
    this.api = api;
    this.#url = url;
    this.#token = token;
    this.#baseRef = baseRef;
  }

  static async of(service: { url: string; token?: string; baseRef?: string }): Promise<Builds> {
    return new Builds(await GithubApi.start(), { token: 'none', baseRef: 'main', ...service });
  }

  /** The first job of the README's first workflow, unless another is given. */
  start({ depth = 1, job = exampleJob, acquire = {}, release = {}, ...options }: BuildOptions = {}): Build {
    const { headSha, workspace, ...runOptions } = this.prepare(depth, options);
    const run = new JobRun({ name: 'staging', job: withInputs(job, [acquire, release]), workspace, ...runOptions });
    this.#runs.push(run);
    return { run, headSha, finish: (exitCode) => writeFileSync(join(workspace, 'result'), `${exitCode}`) };
  }

  /** What a job of a new build is run with; the work on staging ends at once if `result` is given. */
  prepare(
    depth: number,
    { url = this.#url, token = this.#token, result }: { url?: string; token?: string; result?: 0 | 1 } = {},
  ): Omit<JobOptions, 'name' | 'job'> & { readonly headSha: string } {
    const headSha = randomBytes(20).toString('hex');
    const workspace = mkdtempSync(join(tmpdir(), 'signalbox-workspace-'));
    this.#folders.push(workspace);
    writeFileSync(join(workspace, 'deploy-and-test-staging'), staging, { mode: 0o755 });
    if (result !== undefined) writeFileSync(join(workspace, 'result'), `${result}`);
    this.api.knows(headSha, depth);
    this.#pullRequest += 1;
    return {
      headSha,
      workspace,
      repository: this.repository,
      apiUrl: this.api.url,
      githubToken: this.githubToken,
      vars: { SIGNALBOX_URL: url },
      secrets: { SIGNALBOX_TOKEN: token },
      event: {
        action: 'checks_requested',
        merge_group: {
          head_sha: headSha,
          head_ref: `refs/heads/gh-readonly-queue/${this.#baseRef}/pr-${this.#pullRequest}-${headSha}`,
          base_ref: `refs/heads/${this.#baseRef}`,
          base_sha: '0'.repeat(40),
        },
      },
    };
  }

  /** Nothing that a test started runs on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#runs.map((run) => run[Symbol.asyncDispose]()));
    await this.api[Symbol.asyncDispose]();
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true });
  }
}

/** Works until the test says how it ends, and leaves at a signal as a good program does. */
const staging = `#!/bin/bash
trap 'echo stopped; exit 130' INT TERM
echo "deploying"
until [ -s result ]; do sleep 0.05; done
exit "$(cat result)"
`;

const exampleJob = exampleWorkflow('Staging').jobs['staging'] ?? { steps: [] };

/** The steps of this action, in order, with further inputs. */
export function withInputs(job: Job, inputs: readonly InputValues[]): Job {
  let at = 0;
  const steps = job.steps.map((step) => {
    if (step.uses === undefined || step.uses.startsWith('actions/')) return step;
    return { ...step, with: { ...step.with, ...inputs[at++] } };
  });
  return { ...job, steps };
}
