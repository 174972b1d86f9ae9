// A private authority and a certificate of it for 127.0.0.1 and localhost, made by openssl.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runProcess } from "../processes.ts";

export interface Certificates {
  /** The authority's certificate: what a client must know. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Makes both in a directory; good for a day. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  const file = (name: string) => join(directory, name);
  const openssl = async (...args: string[]) => {
    const { code, stderr } = await runProcess("openssl", args);
    if (code !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
  };
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-subj", "/CN=pageferry test authority"];
  await openssl(
    "req",
    "-x509",
    ...newKey,
    "-days",
    "1",
    ...authority,
    "-keyout",
    file("ca.key"),
    "-out",
    file("ca.crt"),
  );
  await openssl(
    "req",
    ...newKey,
    "-subj",
    "/CN=localhost",
    "-keyout",
    file("server.key"),
    "-out",
    file("server.csr"),
  );
  await writeFile(file("server.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  const signing = [
    "-CA",
    file("ca.crt"),
    "-CAkey",
    file("ca.key"),
    "-CAcreateserial",
    "-extfile",
    file("server.ext"),
  ];
  await openssl(
    "x509",
    "-req",
    "-days",
    "1",
    "-in",
    file("server.csr"),
    ...signing,
    "-out",
    file("server.crt"),
  );
  return { ca: file("ca.crt"), cert: file("server.crt"), key: file("server.key") };
}
