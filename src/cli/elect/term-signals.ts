import { OutsideSignals } from '../run/outside-signals.ts';

/** What asks the command of one term to end: the signals from outside, and a request to hand over, which is a TERM to it. */
export class TermSignals extends OutsideSignals {
  #pass: ((signal: NodeJS.Signals) => void) | undefined;
  #isHandedOver = false;
  #isPassing = false;

  /** Whether a hand-over was asked for in this term. */
  get isHandedOver(): boolean {
    return this.#isHandedOver;
  }

  /** While this is true it is us, and nobody outside, who sends TERM to the command. */
  get isPassing(): boolean {
    return this.#isPassing;
  }

  override listen(listener: (signal: NodeJS.Signals) => void): void {
    this.#pass = listener;
    if (this.#isHandedOver) this.#passTerm();
    super.listen(listener);
  }

  /** TERM to the command, once, as soon as it listens. */
  handOver(): void {
    if (this.#isHandedOver) return;
    this.#isHandedOver = true;
    this.#passTerm();
  }

  #passTerm(): void {
    this.#isPassing = true;
    this.#pass?.('SIGTERM');
    this.#isPassing = false;
  }
}
