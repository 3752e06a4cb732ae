/** `redoubt validate`: every document of manifests, and what is wrong with it, where. */
import { readManifests } from '#policy/dialects/index.ts'
import type { DocumentReport, Fault } from '#policy/index.ts'
import { DeployError } from '../../error.ts'
import {
  type Command,
  type ExitCode,
  type Input,
  type Io,
  listOption,
  textOption,
} from '../command.ts'
import { readManifestFiles } from '../manifest-files.ts'
import { readText } from '../read-text.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'

export const validate: Command = {
  name: 'validate',
  summary: 'check manifests: each document with file, line, pointer and what to do',
  arguments: [{ name: 'PATH...', summary: 'more files or directories' }],
  options: [
    {
      flags: '-f, --file <path>',
      summary: 'file, directory, or - for standard input',
      repeat: true,
    },
    {
      flags: '--batch <file>',
      summary: 'JSON lines {"id","manifest"} instead, each judged alone; answers are JSON lines',
    },
    OUTPUT_OPTION,
  ],
  examples: [
    { what: 'Check a directory of manifests', command: 'redoubt validate -f deploy/samples/qotm' },
    {
      what: 'Check what another program makes',
      command: 'redoubt validate -f - --output json < policy.yaml',
    },
  ],
  async run(io, input) {
    const batch = textOption(input, 'batch')
    if (batch !== undefined) return validateBatch(io, batch)
    const paths = [...listOption(input, 'file'), ...input.arguments]
    if (paths.length === 0)
      throw new DeployError('DEPLOY_USAGE', 'Cannot validate: expected a PATH, or --batch FILE')
    const { documents } = readManifests(await readManifestFiles(io, paths))
    if (documents.length === 0) {
      throw new DeployError(
        'DEPLOY_USAGE',
        `Cannot validate ${paths.join(' ')}: there is no document in it`,
      )
    }
    report(io, input, documents)
    return documents.every(({ valid }) => valid) ? 0 : 1
  },
}

function report(io: Io, input: Input, documents: readonly DocumentReport[]): void {
  const format = outputFormat(input)
  if (format === 'text') for (const line of textLines(io, documents)) io.out(line)
  else for (const document of documents) print(io, format, document, () => [])
}

function textLines(io: Io, documents: readonly DocumentReport[]): readonly string[] {
  const invalid = documents.filter(({ valid }) => !valid).length
  const count = `${documents.length} document${documents.length === 1 ? '' : 's'}`
  const skipped = documents.filter((one) => one.skipped).length
  const held = documents.filter(({ unsupported }) => unsupported.length > 0).length
  const others = skipped === 0 ? '' : `, ${skipped} skipped: no business of a mesh`
  const sum =
    invalid === 0
      ? paint(io, 'green', `${count}, all valid${others}`)
      : paint(io, 'red', `${count}, ${invalid} invalid${others}`)
  const note = `${held} of them with what no mesh carries out yet: redoubt up refuses the file`
  return [
    ...documents.flatMap((document) => documentLines(io, document)),
    sum,
    ...(held > 0 ? [paint(io, 'yellow', note)] : []),
  ]
}

function documentLines(io: Io, document: DocumentReport): readonly string[] {
  const { file, line, kind, namespace, name, valid, errors, warnings, unsupported } = document
  const mark = document.skipped
    ? paint(io, 'dim', '–')
    : valid
      ? paint(io, 'green', '✔')
      : paint(io, 'red', '✘')
  // What is no object has no namespace either.
  const object =
    name === '' ? kind || 'document' : `${kind} ${namespace ? `${namespace}/` : ''}${name}`
  return [
    `${mark} ${paint(io, 'bold', object)} ${paint(io, 'dim', `${file}:${line}`)}`,
    ...errors.flatMap((fault) => faultLines(io, file, fault, 'red')),
    ...[...warnings, ...unsupported].flatMap((fault) => faultLines(io, file, fault, 'yellow')),
  ]
}

function faultLines(
  io: Io,
  file: string,
  { pointer, line, message, hint }: Fault,
  style: 'red' | 'yellow',
): readonly string[] {
  const where = [`${file}:${line}`, pointer].filter(Boolean).join(' ')
  return [
    `    ${paint(io, 'dim', where)}  ${paint(io, style, message)}`,
    ...(hint === undefined ? [] : [`        ${paint(io, 'dim', hint)}`]),
  ]
}

/** A line that cannot be read is answered too, so that answers can be counted; the exit code is then 2. */
async function validateBatch(io: Io, path: string): Promise<ExitCode> {
  const text = await readText(io, path)
  let exitCode: ExitCode = 0
  for (const [at, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const question = readQuestion(line)
    if (question === undefined) {
      io.err(`redoubt: Cannot read line ${at + 1} of the batch: expected {"id","manifest"}`)
      exitCode = 2
      io.out(JSON.stringify({ id: null, ...unreadable(path, at + 1) }))
      continue
    }
    const reports = reportsFor(path, question.manifest)
    for (const one of reports) io.out(JSON.stringify({ id: question.id, ...one }))
    if (exitCode === 0 && !reports.every(({ valid }) => valid)) exitCode = 1
  }
  return exitCode
}

interface Question {
  readonly id: unknown
  readonly manifest: string
}

function readQuestion(line: string): Question | undefined {
  try {
    const { id, manifest } = JSON.parse(line) as { id?: unknown; manifest?: unknown }
    if (id === undefined || manifest === undefined) return undefined
    return { id, manifest: typeof manifest === 'string' ? manifest : JSON.stringify(manifest) }
  } catch {
    return undefined // answered as unreadable, with its line
  }
}

function reportsFor(path: string, manifest: string): readonly DocumentReport[] {
  const { documents } = readManifests([{ path, text: manifest }])
  return documents.length > 0 ? documents : [unreadable(path, 1)]
}

function unreadable(file: string, line: number): DocumentReport {
  const error = { pointer: '', line, message: 'there is no document, expected a manifest' }
  const nobody = { kind: '', namespace: '', name: '' }
  const none = { warnings: [], unsupported: [] }
  return { file, document: 1, line, ...nobody, valid: false, errors: [error], ...none }
}
