import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Contexts, type StatusFunctions, fillIn, isDue } from './expressions.ts';
import { FileCommands, type Values } from './file-commands.ts';
import { JobLog } from './job-log.ts';
import { endOrphans } from './orphans.ts';
import { type ActionMetadata, type Job, type WorkflowStep, readAction } from './workflow.ts';

const actionRoot = join(import.meta.dirname, '../../..');

export type Result = 'success' | 'failure' | 'cancelled' | 'skipped';

export interface StepResult {
  readonly outcome: Result;
  readonly outputs: Values;
}

export interface JobOptions {
  readonly name: string;
  readonly job: Job;
  readonly repository: string;
  readonly event: unknown;
  /** GITHUB_WORKSPACE and the working directory. */
  readonly workspace: string;
  readonly apiUrl: string;
  readonly githubToken: string;
  readonly vars?: Values;
  readonly secrets?: Values;
  readonly needs?: Readonly<Record<string, { readonly result: Result; readonly outputs: Values }>>;
  readonly runId?: string;
}

/** When the job is cancelled, the step that runs gets SIGINT, then SIGTERM, then a kill, after so many ms each. */
const patience = { sigtermMs: 7500, killMs: 2500 };

/**
 * One job as GitHub's runner runs it: main of each step in order, then the post steps in reverse order, each a process with
 * INPUT_…, STATE_… and the files of its own; in the end RUNNER_TEMP goes, and the processes that steps left behind.
 */
export class JobRun implements AsyncDisposable {
  readonly log: JobLog;
  readonly temp: string;
  readonly steps: Record<string, StepResult> = {};
  readonly outputs: Values = {};
  summary = '';
  /** Resolves when all is over, post steps included. */
  readonly ended: Promise<Exclude<Result, 'skipped'>>;
  readonly #options: JobOptions;
  readonly #action: ActionMetadata = readAction(join(actionRoot, 'action.yml'));
  readonly #trackingId = `github_${randomUUID()}`;
  readonly #env: Values = {};
  readonly #posts: { readonly step: WorkflowStep; readonly state: Values }[] = [];
  #status: Exclude<Result, 'skipped'> = 'success';
  #current: ChildProcess | undefined;

  constructor(options: JobOptions) {
    this.#options = options;
    this.log = new JobLog([options.githubToken, ...Object.values(options.secrets ?? {})]);
    this.temp = mkdtempSync(join(tmpdir(), 'signalbox-runner-'));
    writeFileSync(join(this.temp, 'event.json'), JSON.stringify(options.event));
    this.ended = this.#run();
  }

  /** As the button in GitHub does; resolves at once, `ended` tells the rest. */
  cancel(): void {
    this.#status = 'cancelled';
    const child = this.#current;
    if (child === undefined) return;
    child.kill('SIGINT');
    const timers = [
      setTimeout(() => child.kill('SIGTERM'), patience.sigtermMs),
      setTimeout(() => child.kill('SIGKILL'), patience.sigtermMs + patience.killMs),
    ];
    child.once('close', () => timers.forEach(clearTimeout));
  }

  /** kill -9 of the step that runs, as when memory runs out. The job goes on as after any failed step. */
  killStep(): void {
    this.#current?.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel();
    this.#current?.kill('SIGKILL');
    await this.ended.catch(() => undefined);
  }

  async #run(): Promise<Exclude<Result, 'skipped'>> {
    try {
      for (const [index, step] of this.#options.job.steps.entries()) await this.#step(step, index);
      for (const { step, state } of this.#posts.toReversed()) {
        if (!isDue(this.#action.runs['post-if'], this.#contexts(), this.#functions)) continue;
        const { code } = await this.#program(step, this.#action.runs.post, state, `Post ${step.uses ?? ''}`);
        if (code !== 0) this.#fail();
      }
      const { outputs = {} } = this.#options.job;
      for (const [name, text] of Object.entries(outputs)) this.outputs[name] = fillIn(text, this.#contexts());
    } finally {
      for (const pid of await endOrphans(this.#trackingId)) this.log.say(`Terminate orphan process: pid (${pid})`);
      rmSync(this.temp, { recursive: true, force: true });
    }
    return this.#status;
  }

  async #step(step: WorkflowStep, index: number): Promise<void> {
    const id = step.id ?? `__${index}`;
    if (!isDue(step.if, this.#contexts(), this.#functions)) {
      this.steps[id] = { outcome: 'skipped', outputs: {} };
      return;
    }
    // Only what this repository itself is can be run; the rest is there already.
    if (step.uses?.startsWith('actions/') === true) return;
    const state: Values = {};
    const { uses } = step;
    if (uses !== undefined) this.#posts.push({ step, state });
    const { code, outputs } =
      uses === undefined
        ? await this.#process(
            'bash',
            ['-e', '-o', 'pipefail', '-c', fillIn(step.run ?? '', this.#contexts())],
            step,
            {},
            'Run',
          )
        : await this.#program(step, this.#action.runs.main, state, `Run ${uses}`);
    const isGood = code === 0;
    const outcome = isGood ? 'success' : this.#status === 'cancelled' ? 'cancelled' : 'failure';
    this.steps[id] = { outcome, outputs };
    if (!isGood && step['continue-on-error'] !== true) this.#fail();
  }

  /** The action's own program; inputs that the step does not give have their defaults, evaluated now. */
  #program(step: WorkflowStep, script: string, state: Values, title: string) {
    if (this.#action.runs.using !== 'node24') throw new Error('the action is of another kind than this runner knows');
    const contexts = this.#contexts();
    const given = Object.fromEntries(Object.entries(step.with ?? {}).map(([name, value]) => [name, `${value}`]));
    const env: Values = Object.fromEntries(Object.entries(state).map(([name, value]) => [`STATE_${name}`, value]));
    for (const [name, input] of Object.entries(this.#action.inputs)) {
      const text = given[name] ?? input?.default ?? '';
      env[`INPUT_${name.replaceAll(' ', '_').toUpperCase()}`] = fillIn(text, contexts);
    }
    const unknown = Object.keys(given).filter((name) => !(name in this.#action.inputs));
    if (unknown.length > 0) this.log.say(`##[warning]Unexpected input(s) '${unknown.join("', '")}'`);
    return this.#process(process.execPath, [join(actionRoot, script)], step, env, title, state);
  }

  async #process(
    file: string,
    args: readonly string[],
    step: WorkflowStep,
    env: Values,
    title: string,
    state: Values = {},
  ): Promise<{ code: number; outputs: Values }> {
    const { workspace, job } = this.#options;
    const files = new FileCommands(this.temp);
    const contexts = this.#contexts();
    const stepEnv = { ...job.env, ...step.env };
    for (const [name, text] of Object.entries(stepEnv)) stepEnv[name] = fillIn(text, contexts);
    this.log.say(`##[group]${title}`);
    const child = spawn(file, args, {
      cwd: workspace,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...this.#ownEnv(), ...this.#env, ...stepEnv, ...env, ...files.env },
    });
    this.#current = child;
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => this.log.printed(line));
    // Not its output's end: what a step leaves running may hold that.
    const code = await new Promise<number>((resolve, reject) => {
      child.once('error', reject).once('exit', (exitCode) => child.once('close', () => resolve(exitCode ?? 1)));
    });
    this.#current = undefined;
    this.summary += files.summary;
    Object.assign(state, files.values('GITHUB_STATE'));
    Object.assign(this.#env, files.values('GITHUB_ENV'));
    return { code, outputs: files.values('GITHUB_OUTPUT') };
  }

  #ownEnv(): NodeJS.ProcessEnv {
    const { name, repository, workspace, apiUrl, runId = '1' } = this.#options;
    const { PATH, HOME, NODE_COMPILE_CACHE } = process.env;
    return {
      PATH,
      HOME,
      NODE_COMPILE_CACHE,
      CI: 'true',
      GITHUB_ACTIONS: 'true',
      GITHUB_API_URL: apiUrl,
      GITHUB_EVENT_NAME: 'merge_group',
      GITHUB_EVENT_PATH: join(this.temp, 'event.json'),
      GITHUB_JOB: name,
      GITHUB_REPOSITORY: repository,
      GITHUB_RUN_ATTEMPT: '1',
      GITHUB_RUN_ID: runId,
      GITHUB_WORKSPACE: workspace,
      RUNNER_TEMP: this.temp,
      RUNNER_TRACKING_ID: this.#trackingId,
    };
  }

  #contexts(): Contexts {
    const { repository, githubToken, vars = {}, secrets = {}, needs = {}, event } = this.#options;
    return {
      github: { token: githubToken, repository, event, event_name: 'merge_group' },
      job: { status: this.#status },
      steps: this.steps,
      env: this.#env,
      vars,
      secrets,
      needs,
    };
  }

  readonly #functions: StatusFunctions = {
    always: () => true,
    success: () => this.#status === 'success',
    failure: () => this.#status === 'failure',
    cancelled: () => this.#status === 'cancelled',
  };

  #fail(): void {
    if (this.#status === 'success') this.#status = 'failure';
  }
}
