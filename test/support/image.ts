import { spawn } from 'node:child_process';
import { chmod, cp, lstat, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join, relative, resolve } from 'node:path';
import { readText, root } from './deployment.ts';

export interface Instruction {
  readonly verb: string;
  readonly rest: string;
}

/** One FROM with what follows it. */
export interface Stage {
  readonly base: string;
  readonly name: string | undefined;
  readonly instructions: readonly Instruction[];
}

/** The stages of a Dockerfile; the last one is the image. */
export function readStages(dockerfile: string): Stage[] {
  const lines = dockerfile.replace(/^#.*\n/gm, '').replace(/\\\n\s*/g, '');
  const stages: { base: string; name: string | undefined; instructions: Instruction[] }[] = [];
  for (const line of lines.split('\n').filter((text) => text.trim() !== '')) {
    const [, verb = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    if (verb === '') throw new Error(`not an instruction: ${line}`);
    const [, base = '', name] = verb === 'FROM' ? (/^(\S+)(?: AS (\S+))?$/.exec(rest) ?? []) : [];
    if (verb === 'FROM') stages.push({ base, name, instructions: [] });
    else stages.at(-1)?.instructions.push({ verb, rest });
  }
  return stages;
}

/** The last stage: the image itself. */
export function imageStage(stages: readonly Stage[]): Stage {
  const stage = stages.at(-1);
  if (stage === undefined) throw new Error('the Dockerfile has no FROM');
  return stage;
}

/** The last instruction of a kind, which is the one that counts. */
export function last(stage: Stage, verb: string): string {
  const found = stage.instructions.findLast((instruction) => instruction.verb === verb)?.rest;
  if (found === undefined) throw new Error(`the Dockerfile has no ${verb}`);
  return found;
}

/** The words of an instruction's JSON form, options before it left out. */
export function words(rest: string): string[] {
  return JSON.parse(rest.slice(rest.indexOf('['))) as string[];
}

export function environmentOf(stage: Stage): Record<string, string> {
  const pairs = stage.instructions.filter(({ verb }) => verb === 'ENV').flatMap(({ rest }) => rest.split(' '));
  return Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/).slice(0, 2) as [string, string]));
}

export interface Copy {
  /** Another stage; undefined = the repository. */
  readonly from: string | undefined;
  readonly sources: readonly string[];
  readonly target: string;
}

export function readCopy(rest: string): Copy {
  const [, from, paths = ''] = /^(?:--from=(\S+) )?(.*)$/.exec(rest) ?? [];
  const all = paths.split(' ');
  return { from, sources: all.slice(0, -1), target: all.at(-1) ?? '' };
}

/** Whether a path of the repository is sent to the engine at all: the last pattern that fits it, or what it is in, decides. */
export function ignoreRules(dockerignore: string): (path: string) => boolean {
  const rules = dockerignore
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => ({ keeps: line.startsWith('!'), pattern: asPattern(line.replace(/^!/, '')) }));
  return (path) => rules.findLast(({ pattern }) => pattern.test(path))?.keeps !== false;
}

function asPattern(glob: string): RegExp {
  const source = glob
    .replace(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replace(/\*\*\/|\*|\?/g, (wild) => (wild === '**/' ? '(.*/)?' : wild === '*' ? '[^/]*' : '[^/]'));
  return new RegExp(`^${source}(/|$)`);
}

export interface Image extends AsyncDisposable {
  /** The file system the image adds to its base. */
  readonly directory: string;
  /** Where its commands run: its last WORKDIR. */
  readonly workDirectory: string;
  readonly stage: Stage;
  /** Its ENV, and the Node that runs the tests first in the PATH, as the base image has it. */
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Does without an engine what `docker build` does: each stage is a directory, WORKDIR, COPY and RUN are carried out in
 * order, and only what .dockerignore lets through is there to be copied. Disposing it removes the directories.
 */
export async function assembleImage(): Promise<Image> {
  const isSent = ignoreRules(await readText('.dockerignore'));
  const stages = readStages(await readText('Dockerfile'));
  const place = await mkdtemp(join(tmpdir(), 'signalbox-image-'));
  const remove = () => rm(place, { recursive: true, force: true });
  const path = [dirname(process.execPath), process.env['PATH']].join(delimiter);
  const made = new Map<string, { directory: string; workDirectory: string }>();
  try {
    await chmod(place, 0o755);
    for (const [index, stage] of stages.entries()) {
      const name = stage.name ?? `${index}`;
      const directory = join(place, name);
      const inside = (from: string, target: string) => join(directory, relative('/', resolve(from, target)));
      let work = '/';
      for (const { verb, rest } of stage.instructions) {
        if (verb === 'WORKDIR') {
          work = resolve(work, rest);
          await mkdir(inside('/', work), { recursive: true });
        } else if (verb === 'COPY') {
          const { from, sources, target } = readCopy(rest);
          const origin = from === undefined ? root : made.get(from)?.directory;
          if (origin === undefined) throw new Error(`COPY from ${from}: there is no such stage before`);
          for (const source of sources) {
            const file = join(origin, source);
            // A directory's content goes into the target, a file into it too if the target ends in a slash.
            const isInto = target.endsWith('/') && !(await lstat(file)).isDirectory();
            await cp(file, inside(work, isInto ? join(target, basename(source)) : target), {
              recursive: true,
              verbatimSymlinks: true,
              filter: (each) => from !== undefined || isSent(relative(root, each)),
            });
          }
        } else if (verb === 'RUN') await run(rest, inside('/', work), { ...process.env, PATH: path });
      }
      made.set(name, { directory, workDirectory: inside('/', work) });
    }
    const stage = imageStage(stages);
    const image = made.get(stage.name ?? `${stages.length - 1}`);
    if (image === undefined) throw new Error('the last stage was not made');
    return {
      ...image,
      stage,
      environment: { ...environmentOf(stage), PATH: path },
      [Symbol.asyncDispose]: remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** A RUN that failed; `output` is all it said. */
export class RunFailed extends Error {
  readonly output: string;

  constructor(command: string, output: string) {
    super(`${command} failed:\n${output}`);
    this.name = 'RunFailed';
    this.output = output;
  }
}

async function run(command: string, cwd: string, env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn('sh', ['-c', command], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
  const exitCode = await new Promise<number | null>((done, fail) => child.once('error', fail).once('close', done));
  if (exitCode !== 0) throw new RunFailed(command, output);
}
