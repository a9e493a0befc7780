// The campus's identity provider: oidc-provider in front of the LDAP directory. It has a login form, a `groups` claim,
// refresh tokens and a log-out; whoever is removed or locked in the directory is unknown here at the next request.
//
//   node provider.mjs SETTINGS.json     {issuer, address, port, certificate, key, directory, base, client, secretFile, page}

import { createServer } from 'node:https';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Client } from 'ldapts';
import Provider from 'oidc-provider';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const HOURS = 3600;
const FORM_BYTES = 4096;

const escapeHtml = (text) => text.replace(/[&<>"']/g, (found) => `&#${found.codePointAt(0)};`);
const renderPage = (title, body) => `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<style>body{font:1rem system-ui;max-width:22rem;margin:4rem auto;padding:0 1rem}label{display:block;margin:1rem 0}
input{display:block;width:100%;box-sizing:border-box;font:inherit;padding:.4rem}button{font:inherit;padding:.5rem 1.2rem}
[role=alert]{color:#a00}</style><h1>${title}</h1>${body}</html>`;

async function inDirectory(work) {
  const client = new Client({ url: settings.directory, timeout: 3000 });
  try {
    return await work(client);
  } finally {
    await client.unbind().catch(() => {});
  }
}

// The entry and the claims of a person, or undefined.
async function findPerson(name) {
  if (!/^[a-z][a-z0-9.-]{0,31}$/.test(name)) return undefined;
  return inDirectory(async (client) => {
    const filter = `(&(objectClass=inetOrgPerson)(uid=${name})(!(pwdAccountLockedTime=*)))`;
    const people = await client.search(`ou=people,${settings.base}`, { scope: 'one', filter });
    if (people.searchEntries.length !== 1) return undefined;
    const [entry] = people.searchEntries;
    const groups = await client.search(`ou=groups,${settings.base}`, { scope: 'one', filter: `(member=${entry.dn})` });
    const claims = {
      sub: name,
      preferred_username: name,
      name: String(entry.cn),
      email: String(entry.mail),
      groups: groups.searchEntries.map((group) => String(group.cn)),
    };
    return { dn: entry.dn, claims };
  });
}

async function passwordIsRight(dn, password) {
  if (!password) return false; // LDAP takes an empty one for "anonymous", and agrees
  try {
    await inDirectory((client) => client.bind(dn, password));
    return true;
  } catch {
    return false;
  }
}

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(settings.issuer, {
  clients: [{
    client_id: settings.client,
    client_secret: readFileSync(settings.secretFile, 'utf8').trim(),
    redirect_uris: [`${settings.page}/hub/oauth_callback`],
    post_logout_redirect_uris: [`${settings.page}/hub/`],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'client_secret_post', // what OAuthenticator sends
  }],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'email', 'groups'],
  cookies: { keys: [randomBytes(32).toString('hex')] },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: 'campus' }] },
  ttl: {
    AccessToken: 600, AuthorizationCode: 60, IdToken: 600, Interaction: 600,
    RefreshToken: 12 * HOURS, Session: 12 * HOURS, Grant: 12 * HOURS,
  },
  issueRefreshToken: () => true,
  interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource(context, form) {
        const button = '<button type="submit" form="op.logoutForm" name="logout" value="yes" autofocus>Log out</button>';
        context.body = renderPage('Log out of the campus?', `${form}${button}`);
      },
    },
  },
  async findAccount(_, name) {
    const found = await findPerson(name);
    return found && { accountId: name, claims: () => found.claims };
  },
  // The campus's own page: nobody is asked whether it may know the name.
  async loadExistingGrant(context) {
    const { client, session } = context.oidc;
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid profile email groups');
    await grant.save();
    return grant;
  },
});
for (const event of ['server_error', 'grant.error', 'userinfo.error', 'authorization.error', 'end_session.error']) {
  provider.on(event, (_, error) => console.log(event, error.message, error.error_description ?? ''));
}

const renderForm = (error = '') => renderPage('Campus login', `${error && `<p role="alert">${error}</p>`}
<form method="post"><label>Name<input name="name" autocomplete="username" autofocus required></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button></form>`);

async function readForm(request) {
  let body = '';
  for await (const part of request) {
    body += part;
    if (body.length > FORM_BYTES) throw new Error('the form is too long');
  }
  return new URLSearchParams(body);
}

async function answerLogin(request, response) {
  await provider.interactionDetails(request, response); // throws unless a log-in is under way in this browser
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  response.setHeader('Cache-Control', 'no-store');
  if (request.method !== 'POST') return response.end(renderForm());
  const form = await readForm(request);
  const found = await findPerson(form.get('name') ?? '');
  if (!found || !(await passwordIsRight(found.dn, form.get('password')))) {
    response.statusCode = 401;
    return response.end(renderForm('This name and this password do not belong to an account.'));
  }
  console.log('login', found.claims.sub, found.claims.groups.join(','));
  return provider.interactionFinished(request, response, { login: { accountId: found.claims.sub } });
}

const answer = provider.callback();
const tls = { cert: readFileSync(settings.certificate), key: readFileSync(settings.key) };
createServer(tls, async (request, response) => {
  if (!request.url.startsWith('/login/')) return answer(request, response);
  try {
    await answerLogin(request, response);
  } catch (error) {
    console.log('login failed', error.message);
    response.statusCode = error.name === 'SessionNotFound' ? 400 : 500;
    response.end(renderPage('Start again', `<p>This log-in does not work any more. <a href="${escapeHtml(settings.page)}">Start again</a></p>`));
  }
}).listen(settings.port, settings.address, () => console.log('ready', settings.issuer));
