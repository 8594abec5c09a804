#include <grasp/goroutine.h>

int main(void)
{
    return gr_id() == 0 ? 0 : 1;
}
