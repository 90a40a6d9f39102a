import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** One address in front of several: connections go round, and on to the next target where one refuses. */
export class TcpBalancer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #targets: readonly URL[] = [];
  #turn = 0;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (client) => {
      this.#keep(client);
      this.#connect(client, this.#targets.length);
    });
  }

  static async start(): Promise<TcpBalancer> {
    const balancer = new TcpBalancer(createServer());
    await new Promise<void>((resolve) => balancer.#server.listen(0, '127.0.0.1', resolve));
    return balancer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** From now on new connections go to these. */
  use(...urls: readonly string[]): void {
    this.#targets = urls.map((url) => new URL(url));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #connect(client: Socket, attemptsLeft: number): void {
    const target = this.#targets[this.#turn++ % this.#targets.length];
    if (target === undefined || attemptsLeft === 0) {
      client.destroy();
      return;
    }
    const upstream = connect(Number(target.port), target.hostname);
    const refused = () => this.#connect(client, attemptsLeft - 1);
    upstream.once('error', refused).once('connect', () => {
      upstream.off('error', refused);
      this.#keep(upstream);
      client.pipe(upstream).pipe(client);
      client.once('close', () => upstream.destroy());
      upstream.once('close', () => client.destroy());
    });
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
