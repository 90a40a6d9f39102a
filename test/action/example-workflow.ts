import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Workflow, readWorkflow } from '../support/actions-runner/workflow.ts';

const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');

/** The workflow with this name from the README. */
export function exampleWorkflow(name: string): Workflow {
  const blocks = [...readme.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text = '']) => text);
  const text = blocks.find((block) => block.startsWith(`name: ${name}\n`)) ?? untilInReadme[name];
  if (text === undefined) throw new Error(`the README shows no workflow ${name}`);
  return readWorkflow(text);
}

const untilInReadme: Readonly<Record<string, string>> = {
  Staging: `name: Staging
on: merge_group
permissions:
  contents: read
jobs:
  staging:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - id: lease
        uses: your-org/signalbox@main
        with:
          lease_service_url: \${{ vars.SIGNALBOX_URL }}/merge-queue
          token: \${{ secrets.SIGNALBOX_TOKEN }}
      - if: steps.lease.outputs.status == 'acquired'
        run: ./deploy-and-test-staging
      - if: always()
        uses: your-org/signalbox@main
        with:
          lease_service_url: \${{ vars.SIGNALBOX_URL }}/merge-queue
          token: \${{ secrets.SIGNALBOX_TOKEN }}
          release_with_status: \${{ job.status }}
`,
  'Staging in three jobs': `name: Staging in three jobs
on: merge_group
permissions:
  contents: read
jobs:
  lease:
    runs-on: ubuntu-latest
    outputs:
      status: \${{ steps.lease.outputs.status }}
      fencing_token: \${{ steps.lease.outputs.fencing_token }}
      priority: \${{ steps.lease.outputs.priority }}
    steps:
      - id: lease
        uses: your-org/signalbox@main
        with:
          lease_service_url: \${{ vars.SIGNALBOX_URL }}/merge-queue
          token: \${{ secrets.SIGNALBOX_TOKEN }}
          hold_ttl_seconds: 3600
  deploy:
    needs: lease
    if: needs.lease.outputs.status == 'acquired'
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - run: ./deploy-and-test-staging
  release:
    needs: [lease, deploy]
    if: always() && needs.lease.outputs.status == 'acquired'
    runs-on: ubuntu-latest
    steps:
      - uses: your-org/signalbox@main
        with:
          lease_service_url: \${{ vars.SIGNALBOX_URL }}/merge-queue
          token: \${{ secrets.SIGNALBOX_TOKEN }}
          release_with_status: \${{ needs.deploy.result }}
          fencing_token: \${{ needs.lease.outputs.fencing_token }}
          priority: \${{ needs.lease.outputs.priority }}
`,
};
