/**
 * A package of test/bench/package.json. undefined, and a line on stderr, where `npm ci --prefix test/bench` has not been
 * run. The specifier is no literal, so that the root's type check passes without these packages.
 */
export async function importPeerPackage<Package>(name: string): Promise<Package | undefined> {
  try {
    return (await import(name)) as Package;
  } catch (error) {
    if (!isMissing(error)) throw error;
    process.stderr.write(`${name} is not installed in test/bench: it is not measured\n`);
    return undefined;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
}
