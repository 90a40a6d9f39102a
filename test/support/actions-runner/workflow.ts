import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

type Texts = Readonly<Record<string, string>>;

/** The parts of a workflow that this runner knows. */
export interface Workflow {
  readonly jobs: Readonly<Record<string, Job>>;
}

export interface Job {
  readonly needs?: string | readonly string[];
  readonly if?: string;
  readonly outputs?: Texts;
  readonly env?: Texts;
  readonly steps: readonly WorkflowStep[];
}

export interface WorkflowStep {
  readonly id?: string;
  readonly name?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string | number | boolean>>;
  readonly run?: string;
  readonly env?: Texts;
  readonly 'continue-on-error'?: boolean;
}

/** action.yml. */
export interface ActionMetadata {
  readonly inputs: Readonly<Record<string, { readonly default?: string } | null>>;
  readonly outputs: Readonly<Record<string, unknown>>;
  readonly runs: { readonly using: string; readonly main: string; readonly post: string; readonly 'post-if': string };
}

export function readWorkflow(text: string): Workflow {
  return parse(text) as Workflow;
}

export function readAction(path: string): ActionMetadata {
  return parse(readFileSync(path, 'utf8')) as ActionMetadata;
}
