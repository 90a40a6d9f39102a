import { Command, CommanderError } from 'commander';
import { SettingsError } from '../config/settings.ts';
import { programVersion } from '../runtime/version.ts';
import { SchemaTooNewError } from '../store/migrator.ts';
import { exitCode } from './exit-codes.ts';
import { migrateCommand } from './migrate.ts';
import { serveCommand } from './serve.ts';
import { addTokenCommands } from './token.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Runs one command and returns the exit code. Only this function knows which error ends with which. */
export async function runCommandLine(argv: readonly string[], environment: Environment): Promise<number> {
  const program = new Command('signalbox')
    .description('Many processes, any machine, share limited things safely, through Postgres.')
    .version(programVersion)
    .exitOverride();
  let result: number = exitCode.ok;
  program
    .command('serve')
    .description('run a replica; settings come from the environment (see the README)')
    .action(async () => {
      result = await serveCommand(environment);
    });
  program
    .command('migrate')
    .description('bring the database schema to this version')
    .option('--pending', 'show what would be done and change nothing; exits 1 if something is pending')
    .action(async (options: { pending?: true }) => {
      result = await migrateCommand(environment, { pendingOnly: options.pending === true });
    });
  addTokenCommands(program, environment, (code) => {
    result = code;
  });
  try {
    await program.parseAsync(argv);
    return result;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.usage;
    console.error(`signalbox: ${error instanceof Error ? error.message : String(error)}`);
    if (error instanceof SettingsError) return exitCode.usage;
    if (error instanceof SchemaTooNewError) return exitCode.schemaTooNew;
    return exitCode.failed;
  }
}
