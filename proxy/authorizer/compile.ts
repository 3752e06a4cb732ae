/** Providers of a bundle, compiled: this folder is loaded by the first bundle that has any. */
import type { ExtensionProvider } from '#policy/model/index.ts'
import { compileAskHttp } from './ask-http.ts'
import { changeResponse, headerText, linesOfOwn } from './change-headers.ts'
import { consultConnection } from './consult-connection.ts'
import { Consultation } from './consultation.ts'
import type { AskedProvider } from './question.ts'
import type { Providers } from './providers.ts'

export async function compileProviders(
  providers: Readonly<Record<string, ExtensionProvider>>,
): Promise<Providers> {
  const compiled = await Promise.all(
    Object.entries(providers).map(async ([name, settings]) => {
      return [name, await compileProvider(settings)] as const
    }),
  )
  const asked: ReadonlyMap<string, AskedProvider> = new Map(compiled)
  return {
    consult: (held, host, deps) => new Consultation(held, host, { providers: asked, deps }),
    consultConnection: (ask, asking, done) =>
      consultConnection(ask, { ...asking, providers: asked }, done),
    changeResponse,
    linesOfOwn,
    headerText,
  }
}

async function compileProvider(settings: ExtensionProvider): Promise<AskedProvider> {
  if (settings.kind === 'casbin') return (await import('./ask-casbin.ts')).compileCasbin(settings)
  const { failOpen, statusOnError, body } = settings
  // Whoever asks over HTTP alone loads no gRPC.
  const ask =
    settings.kind === 'http'
      ? compileAskHttp(settings)
      : (await import('./ask-grpc.ts')).compileAskGrpc(settings)
  return { failOpen, statusOnError, body, ask }
}
