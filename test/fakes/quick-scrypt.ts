/**
 * A guess at a passphrase costs a tenth of a second, and so does each file that a test seals or opens. In test files
 * that import this, scrypt is itself at a small part of the cost; what it was asked for is kept, to be judged.
 */
import crypto, { type ScryptOptions } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

const real = crypto.scrypt
const asked: ScryptOptions[] = []

/** Every cost that was asked for, in order. */
export const askedCosts: readonly ScryptOptions[] = asked

const quick = (
  passphrase: string,
  salt: Uint8Array,
  length: number,
  cost: ScryptOptions,
  done: (cause: Error | null, key: Buffer) => void,
): void => {
  asked.push(cost)
  real(passphrase, salt, length, { ...cost, N: (cost.N ?? 0) / 64 }, done)
}

function use(scrypt: unknown): void {
  crypto.scrypt = scrypt as typeof crypto.scrypt
  syncBuiltinESMExports()
}

use(quick)

/** Does `work` with the real one. For `test.serial`: whatever else runs pays, too. */
export async function atFullCost<T>(work: () => Promise<T>): Promise<T> {
  use(real)
  try {
    return await work()
  } finally {
    use(quick)
  }
}
