/** Takes exact numbers of bytes from chunks of any size. */
export interface ByteReader {
  /** The next `count` bytes. @throws {RangeError} if there are fewer */
  readonly take: (count: number) => Promise<Buffer>
  /** The next `count` bytes as they come. @throws {RangeError} if there are fewer */
  readonly chunks: (count: number) => AsyncGenerator<Uint8Array>
  /** Reads to the end. @throws {RangeError} if there is anything left */
  readonly end: () => Promise<void>
}

/** A reader of `source`. */
export function createByteReader(source: AsyncIterable<Uint8Array>): ByteReader {
  const iterator = source[Symbol.asyncIterator]()
  let rest: Uint8Array = Buffer.alloc(0)
  const more = async (): Promise<boolean> => {
    const { done, value } = await iterator.next()
    rest = done ? Buffer.alloc(0) : value
    return done !== true
  }
  async function* chunks(count: number): AsyncGenerator<Uint8Array> {
    for (let left = count; left > 0; ) {
      if (rest.length === 0 && !(await more())) throw new RangeError('it ends too early')
      const part = rest.subarray(0, left)
      rest = rest.subarray(part.length)
      left -= part.length
      yield part
    }
  }
  return {
    chunks,
    async take(count) {
      return Buffer.concat(await Array.fromAsync(chunks(count)))
    },
    async end() {
      if (rest.length > 0) throw new RangeError('there is more than was said')
      while (await more()) if (rest.length > 0) throw new RangeError('there is more than was said')
    },
  }
}
