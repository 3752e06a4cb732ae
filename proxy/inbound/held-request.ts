import type { RequestHead } from '../http/request-head.ts'

/** A request whose token is being verified: its body, as far as it has come meanwhile. */
export class HeldRequest {
  readonly head: RequestHead
  #pieces: Buffer[] = []
  #isWhole: boolean

  constructor(head: RequestHead, body: Buffer | undefined, end: boolean) {
    this.head = head
    this.#isWhole = end
    if (body !== undefined) this.#pieces.push(body)
  }

  push(bytes: Buffer | undefined, end: boolean): void {
    if (bytes !== undefined) this.#pieces.push(bytes)
    if (end) this.#isWhole = true
  }

  get body(): Buffer | undefined {
    return this.#pieces.length > 1 ? Buffer.concat(this.#pieces) : this.#pieces[0]
  }

  /** Whether the body has arrived whole. */
  get isWhole(): boolean {
    return this.#isWhole
  }
}
