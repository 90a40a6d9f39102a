import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Workflow, readWorkflow } from '../support/actions-runner/workflow.ts';

const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');

/** The workflow with this name from the README. */
export function exampleWorkflow(name: string): Workflow {
  const blocks = [...readme.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text = '']) => text);
  const text = blocks.find((block) => block.startsWith(`name: ${name}\n`));
  if (text === undefined) throw new Error(`the README shows no workflow ${name}`);
  return readWorkflow(text);
}
