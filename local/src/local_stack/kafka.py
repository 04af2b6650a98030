"""One Kafka broker (KRaft) in a folder: SASL/SCRAM for clients, ACLs by the StandardAuthorizer, `admin` the super user.

Invariant: nobody connects without a password, the controller's listener included.
"""

import os
import shutil
import signal
import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local_stack import JARS, LocalStackError
from local_stack.jars import fetch
from local_stack.passwords import write_private
from local_stack.ports import LOOPBACK, answers
from local_stack.processes import Identity, alive, send, spawn, stop, wait_for

ADMIN = "admin"
JVM = ["-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxDirectMemorySize=128m"]
LOGGING = """status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c: %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
"""


def start(directory: Path, port: int, controller_port: int, password: str, advertised: int | None = None) -> Identity:
    """Start the broker on the folder, formatting it when it is new. Returns at once; see `wait_until_ready`.

    `advertised` is the port at which clients are told to find it: of somebody between, who passes connections on.
    """
    fetch()
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)  # the log of accounts holds addresses
    logging = directory / "log4j2.properties"
    logging.write_text(LOGGING, "utf-8")
    configuration = directory / "server.properties"
    write_private(configuration, _properties(directory, port, controller_port, password, advertised or port))
    java = [_java(), *JVM, f"-Dlog4j2.configurationFile={logging}", "-cp", f"{JARS}/*"]
    if not (directory / "data" / "meta.properties").exists():
        _format(java, directory, configuration, password)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    return spawn(
        [*java, "kafka.Kafka", str(configuration)],
        env=environment,
        log=directory / "kafka.log",
        pidfile=directory / "pid",
    )


def wait_until_ready(identity: Identity, directory: Path, port: int, password: str, seconds: float = 180.0) -> None:
    """Wait until the broker answers a question of its super user.

    Raises:
        LocalStackError: it ended, or does not answer in time; the message holds the end of its log. One that does not
            answer writes down there what each of its threads does.

    """
    wait_for(lambda: answers(port) or not alive(identity), seconds)
    client = AdminClient(client_configuration(f"{LOOPBACK}:{port}", ADMIN, password))

    def ready() -> bool:
        if not alive(identity):
            return True
        try:
            return bool(client.list_topics(timeout=2.0).brokers)
        except KafkaException:
            return False

    if not wait_for(ready, seconds) or not alive(identity):
        lines = (directory / "kafka.log").read_text("utf-8", "replace").splitlines()[-15:]
        if lives := alive(identity):
            send(identity, signal.SIGQUIT)
        raise LocalStackError(f"Kafka {'runs and does not answer' if lives else 'ended'}:\n" + "\n".join(lines))


def client_configuration(bootstrap: str, username: str, password: str) -> dict[str, str | int | float | bool]:
    """Return librdkafka's settings for a client of this broker."""
    return {
        "bootstrap.servers": bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": username,
        "sasl.password": password,
        "log_level": 0,  # while the broker starts, refused connections are expected
    }


def halt(identity: Identity | None) -> None:
    """Stop the broker, with time for a controlled shutdown."""
    stop(identity, grace=15.0)


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        raise LocalStackError("Java 17 or later is missing: on Debian, `apt-get install openjdk-17-jre-headless`")
    return java


def _format(java: list[str], directory: Path, configuration: Path, password: str) -> None:
    shutil.rmtree(directory / "data", ignore_errors=True)
    cluster = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    scram = f"SCRAM-SHA-256=[name={ADMIN},password={password}]"
    command = [
        *java,
        "kafka.tools.StorageTool",
        "format",
        f"--cluster-id={cluster}",  # it may begin with a hyphen
        "-c",
        str(configuration),
        "--add-scram",
        scram,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise LocalStackError(f"Kafka's folder could not be formatted: {done.stdout[-1000:]}")


def _properties(directory: Path, port: int, controller_port: int, password: str, advertised: int) -> str:
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    given = f'required username="{ADMIN}" password="{password}"'
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{LOOPBACK}:{controller_port}
listeners=CLIENT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}
advertised.listeners=CLIENT://{LOOPBACK}:{advertised}
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
sasl.enabled.mechanisms=SCRAM-SHA-256
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256
sasl.mechanism.controller.protocol=PLAIN
listener.name.client.scram-sha-256.sasl.jaas.config={scram} {given};
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={plain} {given} user_{ADMIN}="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{ADMIN}
log.dirs={directory / "data"}
auto.create.topics.enable=false
message.max.bytes=131072
log.message.timestamp.after.max.ms=3600000
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=1000
"""
