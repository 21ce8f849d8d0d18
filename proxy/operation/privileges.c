/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/operation/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "reporter/log.h"

struct identity {
    uid_t uid;
    gid_t gid;
};

/* Looks both names up; main thread, before there are others, so the shared buffers of the library
 * are ours. */
static bool find(const struct sky_config *config, struct identity *found)
{
    found->uid = geteuid();
    found->gid = getegid();
    if (config->user[0] != '\0') {
        const struct passwd *user = getpwnam(config->user);
        if (user == NULL) {
            sky_log(SKY_LOG_ERROR, "user: there is no user %s on this machine", config->user);
            return false;
        }
        found->uid = user->pw_uid;
        found->gid = user->pw_gid;
    }
    if (config->group[0] != '\0') {
        const struct group *group = getgrnam(config->group);
        if (group == NULL) {
            sky_log(SKY_LOG_ERROR, "group: there is no group %s on this machine", config->group);
            return false;
        }
        found->gid = group->gr_gid;
    }
    return true;
}

bool sky_privileges_check(const struct sky_config *config)
{
    struct identity found;
    return find(config, &found);
}

int sky_privileges_give(const struct sky_config *config, int fd)
{
    struct identity wanted;
    if (!find(config, &wanted)) {
        errno = ENOENT;
        return -1;
    }
    if (geteuid() == wanted.uid && getegid() == wanted.gid)
        return 0;
    return fchown(fd, wanted.uid, wanted.gid);
}

/* The order matters: who is not root any more cannot change groups. */
static bool become(const struct sky_config *config, const struct identity *wanted)
{
    int rc = config->user[0] != '\0' ? initgroups(config->user, wanted->gid)
                                     : setgroups(1, &wanted->gid);
    return rc == 0 && setresgid(wanted->gid, wanted->gid, wanted->gid) == 0 &&
           setresuid(wanted->uid, wanted->uid, wanted->uid) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

int sky_privileges_drop(const struct sky_config *config)
{
    struct identity wanted;
    if (config->user[0] == '\0' && config->group[0] == '\0')
        return 0;
    if (!find(config, &wanted))
        return -1;
    if (geteuid() == wanted.uid && getegid() == wanted.gid)
        return 0;
    if (!become(config, &wanted)) {
        sky_log(SKY_LOG_ERROR, "cannot become user %u, group %u: %s%s", (unsigned)wanted.uid,
                (unsigned)wanted.gid, strerror(errno),
                errno == EPERM ? "; start it as root, or leave user and group out" : "");
        return -1;
    }
    if (wanted.uid != 0 && setuid(0) == 0) {
        sky_log(SKY_LOG_ERROR, "user: root could be regained after becoming %s", config->user);
        return -1;
    }
    sky_log(SKY_LOG_INFO, "runs as user %u, group %u", (unsigned)wanted.uid, (unsigned)wanted.gid);
    return 0;
}
