import { DeployError } from '../error.ts'

/** Does what `read` does; a fault of it says which file, or standard input for `-`, it is about. */
export function inPlace<Result>(place: string, read: () => Result): Result {
  try {
    return read()
  } catch (cause) {
    const { message } = cause as Error
    const [, what, why] = /^Cannot read ([^:]+): (.*)$/s.exec(message) ?? []
    const where = place === '-' ? 'standard input' : place
    const named =
      what === undefined
        ? `Cannot read ${where}: ${message}`
        : `Cannot read ${what} in ${where}: ${why}`
    throw new DeployError('DEPLOY_USAGE', named, { cause })
  }
}
