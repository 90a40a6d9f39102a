import { Agent, request } from 'node:http';

/** Posts JSON over keep-alive connections, as many as `clients`. Rejects on anything but 200 and 201. */
export function keepAlivePosts(baseUrl: string, clients: number) {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const post = <Answer = Record<string, unknown>>(path: string, body: unknown) =>
    new Promise<Answer>((resolve, reject) => {
      const text = JSON.stringify(body);
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
      const call = request(baseUrl + path, { method: 'POST', agent, headers }, (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
        response.on('end', () => {
          if (response.statusCode === 200 || response.statusCode === 201) resolve(JSON.parse(answer) as Answer);
          else reject(new Error(`${path}: ${response.statusCode} ${answer}`));
        });
      });
      call.on('error', reject).end(text);
    });
  return { post, [Symbol.dispose]: () => agent.destroy() };
}
