/** Bytes of a request's body that are kept for a retry; beyond, the request is sent once. */
export const MAX_REPLAY_BYTES = 65_536

/** The body of one request as far as it has come, while it may have to be sent again. */
export class ReplayBuffer {
  #pieces: Buffer[] = []
  #bytes = 0
  #isWhole = true
  /** Whether the client has sent all of it. */
  ended = false

  begin(body: Buffer | undefined, end: boolean): void {
    if (this.#bytes > 0) this.#pieces = []
    this.#bytes = 0
    this.#isWhole = true
    this.ended = end
    if (body !== undefined) this.add(body)
  }

  /** Keeps `bytes`, or, when that would be too much, gives all up. */
  add(bytes: Buffer): void {
    if (!this.#isWhole) return
    this.#pieces.push(bytes)
    this.#bytes += bytes.length
  }

  /** Stops keeping: what comes now is passed on only. */
  trim(): void {
    if (this.#bytes <= MAX_REPLAY_BYTES) return
    this.#isWhole = false
    this.#pieces = []
    this.#bytes = 0
  }

  get isFull(): boolean {
    return this.#bytes > MAX_REPLAY_BYTES
  }

  /** Whether everything that came is still here. */
  get isReplayable(): boolean {
    return this.#isWhole
  }

  /** All that has come. */
  get body(): Buffer | undefined {
    return this.#pieces.length > 1 ? Buffer.concat(this.#pieces) : this.#pieces[0]
  }
}
