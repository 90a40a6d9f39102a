// Opens the embedded server in the directory given, prints one line of JSON, and leaves at SIGTERM or the end of stdin.
import { openEmbeddedServer } from '../../src/store/embedded/index.ts';

const [dataDir = ''] = process.argv.slice(2);
const print = (message: unknown) => process.stdout.write(`${JSON.stringify(message)}\n`);

const server = await openEmbeddedServer({
  dataDir,
  log: (message) => process.stderr.write(`${message}\n`),
  // Data survives a killed server without it (only a lost machine needs it), and tests start a lot of servers.
  postgresSettings: { fsync: 'off' },
});
const leave = async () => {
  print({ left: await server.leave() });
  process.exit(0);
};
process.once('SIGTERM', () => void leave());
process.stdin.once('end', () => void leave()).resume();
print({ url: server.url, joined: server.joined });
