import type { RequestHead } from '../http/request-head.ts'

/** A request that waits for a token or a provider: its body, as far as it has come meanwhile. */
export class HeldRequest {
  /** Another one once a provider has changed it. */
  head: RequestHead
  #pieces: Buffer[] = []
  #bytes = 0
  #isWhole: boolean

  constructor(head: RequestHead, body: Buffer | undefined, end: boolean) {
    this.head = head
    this.#isWhole = end
    if (body !== undefined) this.#add(body)
  }

  push(bytes: Buffer | undefined, end: boolean): void {
    if (bytes !== undefined) this.#add(bytes)
    if (end) this.#isWhole = true
  }

  #add(bytes: Buffer): void {
    this.#pieces.push(bytes)
    this.#bytes += bytes.length
  }

  get body(): Buffer | undefined {
    if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)]
    return this.#pieces[0]
  }

  /** Bytes of the body that have come. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether the body has arrived whole. */
  get isWhole(): boolean {
    return this.#isWhole
  }
}
