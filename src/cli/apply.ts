import type { Command } from 'commander';
import { type ServiceFlags, withServiceOptions } from './service-options.ts';

export interface ApplyFlags extends ServiceFlags {
  readonly file: string;
  readonly label?: string;
  readonly prune?: true;
  readonly dryRun?: true;
  readonly watch?: true;
  readonly json?: true;
}

export function describeApply(command: Command): Command {
  return withServiceOptions(command)
    .description('bring queues, patterns and merge queues to what a YAML file says')
    .requiredOption('-f, --file <path>', 'the file')
    .option('--label <name>', 'under which to remember what it made (default: its `label`, else its name)')
    .option('--prune', 'take away what an earlier apply of the label made and the file no longer has')
    .option('--dry-run', 'show what would be done and change nothing; exits 1 if there is something')
    .option('--watch', 'apply it again whenever the file changes, until a signal')
    .option('--json', 'print one JSON document, with --watch one for each time');
}
